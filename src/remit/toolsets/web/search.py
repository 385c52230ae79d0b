"""Search engines behind `web_search`: an own SearXNG, or Brave Search with a key."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import httpx2
import msgspec
import structlog

from remit.toolsets.web.failures import WebFailure
from remit.values import JsonObject

_log = structlog.get_logger(__name__)

BRAVE_BASE_URL = "https://api.search.brave.com"
BRAVE_RESULTS = 20
"""The most that one request to Brave can ask for."""
BRAVE_QUERY_CHARACTERS_MAX = 400
SEARCH_SECONDS = 20.0
ANSWER_BYTES_MAX = 4 << 20

_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, kw_only=True)
class SearchHit:
    """One result, as the engine gave it."""

    url: str
    title: str
    snippet: str
    age: str | None = None


class SearchEngine(Protocol):
    """Answers queries."""

    name: str
    takes_location: bool
    """Whether `user_location` means anything to it."""

    async def search(self, query: str, location: JsonObject | None) -> Sequence[SearchHit]:
        """Raises WebFailure."""
        ...


class SearxngSearch:
    """An instance of the operator's, with `json` among its `search.formats`."""

    name = "searxng"
    takes_location = False

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url.rstrip('/')}/search"

    async def search(self, query: str, location: JsonObject | None) -> Sequence[SearchHit]:
        """See SearchEngine."""
        answer = await _ask(self.name, self._url, {"q": query, "format": "json"}, {})
        return [
            SearchHit(
                url=_text(one.get("url")),
                title=_text(one.get("title")),
                snippet=_text(one.get("content")),
                age=_text(one.get("publishedDate")) or None,
            )
            for one in _objects(answer.get("results"))
        ]


class BraveSearch:
    """https://api-dashboard.search.brave.com/app/documentation/web-search"""

    name = "brave"
    takes_location = True

    def __init__(self, api_key: str, *, base_url: str = BRAVE_BASE_URL) -> None:
        self._api_key = api_key
        self._url = f"{base_url}/res/v1/web/search"

    async def search(self, query: str, location: JsonObject | None) -> Sequence[SearchHit]:
        """See SearchEngine."""
        if len(query) > BRAVE_QUERY_CHARACTERS_MAX:
            raise WebFailure(
                "invalid_tool_input", f"a query has at most {BRAVE_QUERY_CHARACTERS_MAX} characters"
            )
        parameters = {"q": query, "count": str(BRAVE_RESULTS), "text_decorations": "false"}
        headers = {"X-Subscription-Token": self._api_key, **_location_headers(location)}
        if location is not None and isinstance(country := location.get("country"), str):
            parameters["country"] = country
        answer = await _ask(self.name, self._url, parameters, headers)
        web = answer.get("web")
        return [
            SearchHit(
                url=_text(one.get("url")),
                title=_text(one.get("title")),
                snippet=_text(one.get("description")),
                age=_text(one.get("age")) or None,
            )
            for one in _objects(cast("JsonObject", web).get("results") if isinstance(web, dict) else None)
        ]


def _location_headers(location: JsonObject | None) -> dict[str, str]:
    names = {
        "city": "X-Loc-City",
        "region": "X-Loc-State-Name",
        "country": "X-Loc-Country",
        "timezone": "X-Loc-Timezone",
    }
    found = {header: (location or {}).get(name) for name, header in names.items()}
    return {header: value for header, value in found.items() if isinstance(value, str)}


async def _ask(
    engine: str, url: str, parameters: Mapping[str, str], headers: Mapping[str, str]
) -> JsonObject:
    """The engine's JSON. What it says when it fails is for the operator's log; the model gets a plain reason."""
    request_headers = {**headers, "Accept": "application/json", "User-Agent": "Remit-web-search/0.1"}
    try:
        async with (
            asyncio.timeout(SEARCH_SECONDS),
            httpx2.AsyncClient(trust_env=False, timeout=SEARCH_SECONDS, follow_redirects=False) as client,
            client.stream(
                "GET",
                url,
                params=dict(parameters),
                headers=[(name.encode(), value.encode()) for name, value in request_headers.items()],
            ) as response,
        ):
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > ANSWER_BYTES_MAX:
                    raise _unavailable(engine, "its answer is too large", was_sent=True)
    except TimeoutError as error:
        raise _unavailable(engine, "it did not answer in time", was_sent=True) from error
    except httpx2.HTTPError as error:
        was_sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        raise _unavailable(engine, type(error).__name__, was_sent=was_sent) from error
    if response.status_code == 429:
        raise WebFailure(
            "too_many_requests", "the search engine takes no more requests now; wait before the next"
        )
    if response.status_code != 200:
        raise _unavailable(engine, f"HTTP {response.status_code}")
    try:
        answer = msgspec.json.decode(bytes(body))
    except msgspec.DecodeError as error:
        raise _unavailable(engine, "its answer is not JSON", was_sent=True) from error
    if not isinstance(answer, dict):
        raise _unavailable(engine, "its answer is no object", was_sent=True)
    return cast("JsonObject", answer)


def _unavailable(engine: str, detail: str, *, was_sent: bool = False) -> WebFailure:
    _log.warning("web_search_failed", engine=engine, detail=detail)
    return WebFailure(
        "unavailable",
        "the search engine of this platform did not answer as it should; try later",
        was_sent=was_sent,
    )


def _objects(value: object) -> list[JsonObject]:
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("JsonObject", entry) for entry in entries if isinstance(entry, dict)]


def _text(value: object) -> str:
    """Without tags, on one line."""
    return " ".join(html.unescape(_TAG.sub("", value)).split()) if isinstance(value, str) else ""
