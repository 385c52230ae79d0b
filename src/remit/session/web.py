"""The web in a session's log: requests made, and which addresses the model has been shown by whom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urldefrag, urlsplit, urlunsplit

from remit.values import JsonObject

WEB_TOOLS = frozenset({"web_fetch", "web_search"})
SHOWN_URLS_MAX = 10_000
"""The oldest are forgotten beyond this: such an address must be shown again before it is fetched."""
USER_INPUT = "user_input"

_URL = re.compile(r"https?://[^\s<>\"'`\\]+", re.IGNORECASE)
_TRAILING = ".,;:!?)]}*_"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def client_tool(name: str) -> str:
    """The source that a custom tool's results are."""
    return f"client_tool_results:{name}"


def server_tool(name: str) -> str:
    """The source that a web tool's results are."""
    return f"server_tool_results:{name}"


@dataclass
class WebUse:
    """Part of the session's fold."""

    searches: int = 0
    fetches: int = 0
    shown: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Canonical address to the sources that showed it."""

    def show(self, content: Sequence[JsonObject], source: str) -> None:
        """Take note of the addresses in these blocks."""
        for block in content:
            text = block.get("text")
            if isinstance(text, str):
                for url in urls_in(text):
                    self.shown.setdefault(url, set()).add(source)
        while len(self.shown) > SHOWN_URLS_MAX:
            del self.shown[next(iter(self.shown))]


def urls_in(text: str) -> list[str]:
    """Canonical addresses in a text; with and without what may be the sentence's punctuation at their end."""
    found: list[str] = []
    for match in _URL.finditer(text):
        raw = match.group()
        found += [canonical_url(one) for one in dict.fromkeys((raw, raw.rstrip(_TRAILING)))]
    return found


def canonical_url(url: str) -> str:
    """Return an address for comparing: no fragment, no default port, scheme and host in lower case."""
    try:
        parts = urlsplit(urldefrag(url.strip()).url)
    except ValueError:
        return url
    scheme = parts.scheme.lower()
    place = parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    return urlunsplit((scheme, place, parts.path or "/", parts.query, ""))
