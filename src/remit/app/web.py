"""The web tools that the settings ask for."""

from __future__ import annotations

import math
from collections.abc import Callable

from remit.config import Settings
from remit.egress.addresses import is_own
from remit.egress.policy import make_guard
from remit.toolsets.web.fetching import Address, Fetcher
from remit.toolsets.web.search import BraveSearch, SearchEngine, SearxngSearch
from remit.toolsets.web.tools import WebTools

LISTED_SEARCH_USD_PER_THOUSAND = 10.0
"""What searches cost where the operator says nothing else; an own SearXNG costs nothing."""


def web_tools(settings: Settings) -> WebTools | None:
    """None: the operator has not switched them on."""
    if not settings.web_tools:
        return None
    engine: SearchEngine | None = None
    if settings.searxng_url is not None:
        engine = SearxngSearch(settings.searxng_url)
    elif settings.brave_api_key is not None:
        engine = BraveSearch(settings.brave_api_key)
    price = settings.web_search_usd_per_thousand
    if price is None:
        price = LISTED_SEARCH_USD_PER_THOUSAND if isinstance(engine, BraveSearch) else 0.0
    return WebTools(
        fetcher=Fetcher(make_judge(settings)), engine=engine, search_nano_usd=math.ceil(price * 1_000_000)
    )


def make_judge(settings: Settings) -> Callable[[str, int, Address], str | None]:
    """Make the judge of addresses: the rule for sandboxes holds for the server's own fetches as well."""
    guard = make_guard(settings.egress_ports, settings.egress_private_hosts)

    def judge(host: str, port: int, address: Address) -> str | None:
        refusal = guard.address_refusal(host, port, address, is_own=is_own(address))
        return refusal.reason if refusal is not None else None

    return judge
