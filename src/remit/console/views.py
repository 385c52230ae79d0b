"""Views of pages, as loaded from the public API: the list, a remit with its sessions, a session."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from remit.client.client import AsyncClient
from remit.client.errors import NotFoundError
from remit.client.html import Markup, join, tag
from remit.console import sections
from remit.console.transcript import Patch, entries, patch_of
from remit.schema.tool_kinds import USE_TYPES
from remit.wording import (
    ENDED,
    Json,
    as_list,
    as_object,
    count,
    decimal_of,
    headline,
    moment,
    short_stream,
    usd,
)

EVENTS_SHOWN_MAX = 2_000
"""Of each session, the newest; the API has all of them."""
LISTED_MAX = 100
TITLE_LINES_CELLS = 600


class View(Protocol):
    """A page that can be loaded, shown and kept up to date; as it stands here it follows no stream."""

    title: str

    async def load(self, client: AsyncClient) -> None:
        """Read what is there now. Raises ApiError."""
        ...

    def body(self) -> Markup:
        """Return the whole view."""
        ...

    def sections(self) -> Sequence[Patch]:
        """The parts that are shown anew as a whole."""
        ...

    @property
    def cursors(self) -> Mapping[str, str]:
        """Return for each followed stream the last event that is shown (`0`: none)."""
        return {}

    def since(self, cursors: Mapping[str, str]) -> Sequence[Patch]:
        """Return the changes after these cursors, for a page that was away."""
        return ()

    def take(self, stream_id: str, event: Json) -> Sequence[Patch]:
        """Take an event of a followed stream."""
        return ()

    async def refresh(self, client: AsyncClient) -> Sequence[Patch]:
        """Read again what events do not carry; entries of streams that are new to the page."""
        ...

    @property
    def is_over(self) -> bool:
        """Return whether nothing more can come."""
        return False


@dataclass
class SessionPage:
    """One session: itself, its accounts, and its newest events in order."""

    session: Json
    accounts: list[Json] = field(default_factory=list[Json])
    events: list[Json] = field(default_factory=list[Json])
    is_cut: bool = False

    @property
    def id(self) -> str:
        return str(self.session["id"])

    @property
    def cursor(self) -> str:
        """The last event that has its place in the log; queued ones have none yet."""
        return next((str(e["id"]) for e in reversed(self.events) if e.get("processed_at") is not None), "0")

    def add(self, event: Json) -> None:
        """Add a new event, or one that was queued and now has its place."""
        known = {str(one.get("id")) for one in self.events[-EVENTS_SHOWN_MAX:]}
        if str(event.get("id")) in known:
            self.events = [one for one in self.events if one.get("id") != event.get("id")]
        self.events.append(event)
        del self.events[:-EVENTS_SHOWN_MAX]

    def since(self, event_id: str) -> list[Patch]:
        """Entries after this event; all of them where it is not known."""
        ids = [str(event.get("id")) for event in self.events]
        start = ids.index(event_id) + 1 if event_id in ids else 0
        return [patch for event in self.events[start:] if (patch := patch_of(self.id, event)) is not None]

    def waiting(self) -> list[Json]:
        """Tool uses that the last idle waits for."""
        idle = next(
            (e for e in reversed(self.events) if str(e.get("type")).startswith("session.status_")), None
        )
        reason = as_object(as_object(idle).get("stop_reason"))
        if reason.get("type") != "requires_action":
            return []
        ids = {str(id) for id in as_list(reason.get("event_ids"))}
        return [e for e in self.events if e.get("type") in USE_TYPES and str(e.get("id")) in ids]

    def transcript(self) -> Markup:
        """Show the session's entries."""
        note = tag("p", f"Only the newest {EVENTS_SHOWN_MAX:,} events are shown.", class_="dim")
        return join([note if self.is_cut else None, entries(self.id, self.events)])


async def open_session_page(client: AsyncClient, session_id: str) -> SessionPage:
    """Load a session. Raises NotFoundError, ApiError."""
    session_page = SessionPage(await client.sessions.retrieve(session_id))
    await read_accounts(client, session_page)
    newest = client.sessions.events(session_id, order="desc")
    found, session_page.is_cut = await _take(newest, EVENTS_SHOWN_MAX)
    session_page.events = found[::-1]
    return session_page


async def read_accounts(client: AsyncClient, session_page: SessionPage) -> None:
    """Read the session's accounts as they stand."""
    session_page.accounts = as_list((await client.sessions.accounts(session_page.id)).get("data"))


class SessionView:
    """/sessions/ID"""

    def __init__(self, session_id: str) -> None:
        self._id = session_id
        self._session_page = SessionPage({"id": session_id})
        self.title = short_stream(session_id)

    async def load(self, client: AsyncClient) -> None:
        self._session_page = await open_session_page(client, self._id)
        self.title = headline(str(self._session_page.session.get("title") or "")) or short_stream(self._id)

    def body(self) -> Markup:
        return _page(
            _heading("session", self._id, self.title),
            self.sections(),
            tag("section", tag("h2", "Transcript"), self._session_page.transcript(), class_="log"),
        )

    def sections(self) -> Sequence[Patch]:
        session, session_page = self._session_page.session, self._session_page
        return _patches(
            {
                "waiting": sections.waiting(sections.session_waiting(session_page.waiting())),
                "status": sections.session_status(session, is_waiting=bool(session_page.waiting())),
                "money": sections.session_money(session_page.accounts),
                "outcomes": sections.session_outcome(session),
            }
        )

    @property
    def cursors(self) -> Mapping[str, str]:
        return {self._id: self._session_page.cursor}

    def since(self, cursors: Mapping[str, str]) -> Sequence[Patch]:
        return self._session_page.since(cursors.get(self._id, "0"))

    def take(self, stream_id: str, event: Json) -> Sequence[Patch]:
        self._session_page.add(event)
        patch = patch_of(self._id, event)
        return () if patch is None else (patch,)

    async def refresh(self, client: AsyncClient) -> Sequence[Patch]:
        self._session_page.session = await client.sessions.retrieve(self._id)
        await read_accounts(client, self._session_page)
        return ()

    @property
    def is_over(self) -> bool:
        return self._session_page.session.get("status") == "terminated"


class RemitView:
    """/remits/ID: the remit and the transcripts of its working sessions."""

    def __init__(self, remit_id: str) -> None:
        self._id = remit_id
        self._remit: Json = {"id": remit_id}
        self._cursor = "0"
        self._session_pages: dict[str, SessionPage] = {}
        self.title = short_stream(remit_id)

    async def load(self, client: AsyncClient) -> None:
        newest, _ = await _take(client.remits.events(self._id, order="desc"), 1)
        self._cursor = str(newest[0]["id"]) if newest else "0"
        await self.refresh(client)
        self.title = headline(str(self._remit.get("outcome") or "")) or short_stream(self._id)

    def body(self) -> Markup:
        logs = [self._log(session_page) for session_page in self._session_pages.values()]
        outcome = str(self._remit.get("outcome") or "")[:TITLE_LINES_CELLS]
        return _page(
            _heading("remit", self._id, outcome), self.sections(), tag("div", *logs, id="logs", class_="logs")
        )

    def _log(self, session_page: SessionPage) -> Markup:
        link = tag(
            "a",
            short_stream(session_page.id),
            href=f"{page_of('remits', self._id)}{page_of('sessions', session_page.id)}",
        )
        return tag(
            "section",
            tag("h2", "Transcript of ", link),
            session_page.transcript(),
            id=f"log-{session_page.id}",
            class_="log",
        )

    def sections(self) -> Sequence[Patch]:
        items = [*sections.remit_waiting(self._remit)]
        for session_page in self._session_pages.values():
            items += sections.session_waiting(session_page.waiting())
        return _patches(
            {
                "waiting": sections.waiting(items),
                "status": sections.remit_status(self._remit),
                "money": sections.remit_money(self._remit),
                "verifiers": sections.remit_verifiers(self._remit),
            }
        )

    @property
    def cursors(self) -> Mapping[str, str]:
        return {self._id: self._cursor} | {
            id: session_page.cursor for id, session_page in self._session_pages.items()
        }

    def since(self, cursors: Mapping[str, str]) -> Sequence[Patch]:
        patches: list[Patch] = []
        for id, session_page in self._session_pages.items():
            if id in cursors:
                patches += session_page.since(cursors[id])
            else:
                patches.append(Patch(id=f"log-{id}", html=self._log(session_page), into="logs"))
        return patches

    def take(self, stream_id: str, event: Json) -> Sequence[Patch]:
        if stream_id == self._id:
            self._cursor = str(event.get("id") or self._cursor)
            return ()
        session_page = self._session_pages[stream_id]
        session_page.add(event)
        patch = patch_of(stream_id, event)
        return () if patch is None else (patch,)

    async def refresh(self, client: AsyncClient) -> Sequence[Patch]:
        self._remit = await client.remits.retrieve(self._id)
        patches: list[Patch] = []
        for session_id in map(str, as_list(self._remit.get("session_ids"))):
            if session_id in self._session_pages:
                continue
            try:
                session_page = await open_session_page(client, session_id)
            except NotFoundError:
                continue  # named in the remit's log before it exists: the next event of the remit comes here again
            self._session_pages[session_id] = session_page
            patches.append(Patch(id=f"log-{session_id}", html=self._log(session_page), into="logs"))
        return patches

    @property
    def is_over(self) -> bool:
        return str(self._remit.get("status")) in ENDED


class ListView(View):
    """/: everything of the workspace, newest first."""

    title = "Remits and sessions"

    def __init__(self) -> None:
        self._remits: list[Json] = []
        self._sessions: list[Json] = []

    async def load(self, client: AsyncClient) -> None:
        self._remits, _ = await _take(client.remits.list(order="desc"), LISTED_MAX)
        sessions, _ = await _take(client.sessions.list(), LISTED_MAX)
        # Working sessions stand on the pages of their remits.
        self._sessions = [one for one in sessions if one.get("parent_id") is None]

    def body(self) -> Markup:
        return tag(
            "main",
            tag("header", tag("h1", self.title), class_="page"),
            *[patch.html for patch in self.sections()],
            class_="list",
        )

    def sections(self) -> Sequence[Patch]:
        return _patches({"remits": self._remit_table(), "sessions": self._session_table()})

    def _remit_table(self) -> Markup:
        rows = [
            (
                page_of("remits", str(remit["id"])),
                headline(str(remit.get("outcome") or "")),
                str(remit.get("status")),
                _verified(remit),
                _spent(remit),
                moment(remit.get("created_at")),
            )
            for remit in self._remits
        ]
        return _table("remits", "Remits", ("outcome", "status", "verified", "spent", "began"), rows)

    def _session_table(self) -> Markup:
        rows = [
            (
                page_of("sessions", str(session["id"])),
                headline(str(session.get("title") or "")) or short_stream(str(session["id"])),
                str(session.get("status")),
                str(as_object(session.get("agent")).get("name") or ""),
                moment(session.get("created_at")),
            )
            for session in self._sessions
        ]
        return _table("sessions", "Sessions", ("title", "status", "agent", "began"), rows)

    async def refresh(self, client: AsyncClient) -> Sequence[Patch]:
        await self.load(client)
        return ()


def page_of(kind: str, id: str) -> str:
    """Return the address of the page of a remit or session."""
    return f"/{kind}/{quote(id, safe='')}"


def _page(heading: Markup, parts: Sequence[Patch], log: Markup) -> Markup:
    aside = tag("aside", *[patch.html for patch in parts])
    return tag("main", heading, aside, log, class_="one")


def _heading(kind: str, id: str, title: str) -> Markup:
    return tag(
        "header", tag("div", f"{kind} ", tag("code", id), class_="dim small"), tag("h1", title), class_="page"
    )


def _patches(parts: Mapping[str, Markup]) -> list[Patch]:
    return [Patch(id=id, html=html) for id, html in parts.items()]


def _table(id: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """The first cell of a row is where its name leads, the third a status."""
    if not rows:
        return sections.section(id, title, tag("p", f"There are no {id} yet.", class_="dim"))
    head = tag("tr", *[tag("th", name, scope="col") for name in columns])
    body = [
        tag(
            "tr",
            tag("td", tag("a", name, href=href), class_="name"),
            tag("td", sections.badge(status)),
            *[tag("td", cell, data_label=label) for cell, label in zip(cells, columns[2:], strict=True)],
        )
        for href, name, status, *cells in rows
    ]
    return sections.section(id, title, tag("table", tag("thead", head), tag("tbody", *body)))


def _verified(remit: Json) -> str:
    if str(remit.get("status")) not in ENDED:
        return "–"
    return "yes" if remit.get("verified") is True else "no"


def _spent(remit: Json) -> str:
    spent, cap = as_object(remit.get("spent")), as_object(remit.get("cap"))
    if cap.get("usd") is not None or (decimal_of(spent.get("usd")) or 0) > 0:
        return usd(spent.get("usd")) + (f" of {usd(cap['usd'])}" if cap.get("usd") is not None else "")
    return f"{count(spent.get('tokens'))} of {count(cap.get('tokens'))} tokens"


async def _take(items: AsyncGenerator[Json], limit: int) -> tuple[list[Json], bool]:
    """The first of them, and whether there are more."""
    found: list[Json] = []
    try:
        async for item in items:
            if len(found) == limit:
                return found, True
            found.append(item)
    finally:
        await items.aclose()
    return found, False
