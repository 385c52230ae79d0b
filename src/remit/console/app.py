"""The pages for people, in front of the API: read-only, opened by a link's token, made from the public API alone.

A link carries its token once: the first answer puts it into a cookie that scripts cannot read and that only this page
is sent, and leads to the same address without it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast
from urllib.parse import parse_qsl, quote

from remit.client.asgi import ASGIApp, Receive, Send
from remit.client.client import AsyncClient
from remit.client.errors import (
    ApiError,
    AuthenticationError,
    ConnectionLost,
    NotFoundError,
    PermissionDeniedError,
)
from remit.client.html import Markup, document, join, tag
from remit.clock import Clock
from remit.console.live import Live, decode_cursors, encode_cursors
from remit.console.views import ListView, RemitView, SessionView, View
from remit.schema.keys import LINK_SECONDS_MAX

Scope = Mapping[str, Any]  # Any: ASGI's scope is untyped by specification

TOKEN = re.compile(r"rl_[A-Za-z0-9_-]{20,100}")
PAGE_COOKIE = "remit_page"
LIST_COOKIE = "remit_list"
LIVE = "/live"
QUERY_FIELDS_MAX = 20
ASSETS: Mapping[str, str] = {"console.css": "text/css", "console.js": "text/javascript"}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = (
    ("content-security-policy", POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-robots-tag", "noindex"),
)
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ccircle cx='8' cy='8' r='7' fill='%232f6f57'/%3E"
    "%3Cpath d='M4.5 8.3l2.4 2.4 4.7-5' fill='none' stroke='white' stroke-width='1.8'/%3E%3C/svg%3E"
)
NO_LINK = "This page is opened by a link. `remit up` prints one, and so does `remit link`."


@dataclass(frozen=True, kw_only=True)
class PageRoute:
    """A page by its path: where its cookie is sent, and what it shows."""

    root: str
    path: str
    cookie: str
    make: Callable[[], View]


class Console:
    """An ASGI application: its pages, and `api` for every other path."""

    def __init__(self, api: ASGIApp, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        folder = files("remit.console") / "static"
        self._assets = {name: (folder / name).read_bytes() for name in ASSETS}
        self._versions = {name: hashlib.sha256(body).hexdigest()[:12] for name, body in self._assets.items()}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        page = page_at(path.removesuffix(LIVE) or "/") if scope["type"] == "http" else None
        if path.startswith("/assets/") and scope["type"] == "http":
            await self._asset(path.removeprefix("/assets/"), send)
        elif page is None:
            await self._api(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await self._say(send, 405, "This page can only be looked at.", {"allow": "GET, HEAD"})
        else:
            await self._page(page, scope, receive, send, is_live=path.endswith(LIVE))

    async def _page(
        self, page: PageRoute, scope: Scope, receive: Receive, send: Send, *, is_live: bool
    ) -> None:
        try:
            query = dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=QUERY_FIELDS_MAX))
        except ValueError:
            await self._say(send, 400, f"This address has more than {QUERY_FIELDS_MAX} parameters. {NO_LINK}")
            return
        if "token" in query and not is_live:
            await self._exchange(page, query["token"], scope, send)
            return
        cookies = read_cookies(scope)
        tokens = [cookies[name] for name in dict.fromkeys((page.cookie, LIST_COOKIE)) if name in cookies]
        refused: ApiError | None = None
        for token in tokens:
            async with AsyncClient.in_process(self._api, api_key=token, stream_reconnects_max=0) as client:
                view = page.make()
                try:
                    await view.load(client)
                except (AuthenticationError, PermissionDeniedError) as error:
                    refused = error
                    continue
                except NotFoundError:
                    await self._say(send, 404, "There is no such remit or session.")
                    return
                except (ApiError, ConnectionLost) as error:
                    await self._say(send, 502, f"The API did not answer: {error.message}")
                    return
                if is_live and scope["method"] == "GET":
                    shown = decode_cursors(_header(scope, b"last-event-id") or query.get("after", ""))
                    live = Live(view, client, self._clock, shown=shown)
                    await live.respond(receive, send, _encoded(SECURITY))
                else:
                    await self._show(send, page, view, has_list=LIST_COOKIE in cookies)
                return
        why = "" if refused is None else "This link has expired, was revoked, or opens another page. "
        await self._say(send, 403, why + NO_LINK)

    async def _exchange(self, page: PageRoute, token: str, scope: Scope, send: Send) -> None:
        """The token goes from the address into a cookie of this page."""
        if TOKEN.fullmatch(token) is None:
            await self._say(send, 403, f"This is no link's token. {NO_LINK}")
            return
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{page.cookie}={token}; Path={page.root}; Max-Age={LINK_SECONDS_MAX}; HttpOnly; SameSite=Lax{secure}"
        headers = {"location": page.path, "set-cookie": cookie, "cache-control": "no-store"}
        await _answer(send, 303, b"", "text/plain", headers)

    async def _show(self, send: Send, page: PageRoute, view: View, *, has_list: bool) -> None:
        live = None
        if not view.is_over:
            live = f"{page.path.rstrip('/')}{LIVE}?after={quote(encode_cursors(view.cursors))}"
        still = tag(
            "noscript", tag("p", "Without scripts this page shows how things were when it was loaded.")
        )
        body = tag("body", self._bar(has_list=has_list), view.body(), still, data_live=live)
        await self._html(send, 200, view.title, body)

    async def _say(
        self, send: Send, status: int, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        main = tag("main", tag("header", tag("h1", "Remit"), class_="page"), tag("p", text), class_="list")
        await self._html(send, status, "Remit", tag("body", self._bar(has_list=False), main), headers)

    async def _html(
        self, send: Send, status: int, title: str, body: Markup, headers: Mapping[str, str] | None = None
    ) -> None:
        head = join(
            [
                tag("meta", charset="utf-8"),
                tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
                tag("title", f"{title} · Remit" if title != "Remit" else title),
                tag("link", rel="icon", href=ICON),
                tag("link", rel="stylesheet", href=self._address("console.css")),
                tag("script", type="module", src=self._address("console.js")),
            ]
        )
        fields = {"cache-control": "no-store", **(headers or {})}
        await _answer(send, status, document(head, body), "text/html; charset=utf-8", fields)

    def _address(self, name: str) -> str:
        return f"/assets/{name}?v={self._versions[name]}"

    def _bar(self, *, has_list: bool) -> Markup:
        brand = tag("a", "Remit", href="/") if has_list else tag("span", "Remit")
        state = tag("span", "", id="live-state", role="status")
        return tag("nav", tag("b", brand), tag("span", "read-only", class_="dim small"), state)

    async def _asset(self, name: str, send: Send) -> None:
        body = self._assets.get(name)
        if body is None:
            await self._say(send, 404, "There is no such file.")
            return
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        await _answer(send, 200, body, f"{ASSETS[name]}; charset=utf-8", headers)


def page_at(path: str) -> PageRoute | None:
    """The page with this path (decoded), if it is one."""
    parts = path.split("/")[1:]
    match parts:
        case [""]:
            return PageRoute(root="/", path="/", cookie=LIST_COOKIE, make=ListView)
        case ["remits", id] if id:
            root = f"/remits/{quote(id, safe='')}"
            return PageRoute(root=root, path=root, cookie=PAGE_COOKIE, make=lambda: RemitView(id))
        case ["sessions", id] if id:
            root = f"/sessions/{quote(id, safe='')}"
            return PageRoute(root=root, path=root, cookie=PAGE_COOKIE, make=lambda: SessionView(id))
        case ["remits", remit_id, "sessions", id] if remit_id and id:
            # A working session below its remit: the remit's link opens it, and the remit's cookie is sent.
            root = f"/remits/{quote(remit_id, safe='')}"
            own = f"{root}/sessions/{quote(id, safe='')}"
            return PageRoute(root=root, path=own, cookie=PAGE_COOKIE, make=lambda: SessionView(id))
        case _:
            return None


def read_cookies(scope: Scope) -> dict[str, str]:
    """The tokens that the browser sent, by cookie; of several of one name the first, whose path fits best."""
    found: dict[str, str] = {}
    for part in (_header(scope, b"cookie") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name in (PAGE_COOKIE, LIST_COOKIE) and TOKEN.fullmatch(value):
            found.setdefault(name, value)
    return found


def _header(scope: Scope, name: bytes) -> str | None:
    headers = cast("Sequence[tuple[bytes, bytes]]", scope["headers"])
    found = [value.decode("latin-1") for key, value in headers if key == name]
    return "; ".join(found) if found else None


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]


async def _answer(
    send: Send, status: int, body: bytes, content_type: str, headers: Mapping[str, str]
) -> None:
    fields = [("content-type", content_type), ("content-length", str(len(body))), *headers.items(), *SECURITY]
    await send({"type": "http.response.start", "status": status, "headers": _encoded(fields)})
    await send({"type": "http.response.body", "body": body})
