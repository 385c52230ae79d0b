"""Settings of an agent's web tools, and what this platform offers of them."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal, cast

import msgspec

from remit.catalog.environment_config import is_host_within, web_hosts
from remit.errors import InvalidRequest
from remit.schema.tools import DOMAINS_MAX, WEB_TOOLS, ToolConfigParams, UrlSource, UrlSources
from remit.values import JsonObject, JsonValue

_SETTINGS = {
    "web_fetch": ("allowed_domains", "blocked_domains", "max_content_tokens", "url_sources"),
    "web_search": ("allowed_domains", "blocked_domains", "user_location"),
}
_ALL_SETTINGS = ("allowed_domains", "blocked_domains", "max_content_tokens", "url_sources", "user_location")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_PATH = re.compile(r"/[A-Za-z0-9._~&'()+;=:@%/-]*")
_INTERNAL = ("internal", "invalid", "local", "localdomain", "localhost")
"""Names below them never stand for a host of the public web."""
_HOST_CHARACTERS_MAX = 253


@dataclass(frozen=True, kw_only=True)
class WebOffer:
    """The web tools that agents of this platform may have."""

    tools: frozenset[str] = frozenset()
    takes_location: bool = False
    """The search engine can make use of `user_location`."""


NO_WEB = WebOffer()


def check_web_entry(
    entry: ToolConfigParams, place: str, web: WebOffer, *, is_enabled: bool, custom: Set[str]
) -> None:
    """Raises InvalidRequest naming what cannot be had, and how it could."""
    for setting in _ALL_SETTINGS:
        if getattr(entry, setting) is not None and setting not in _SETTINGS.get(entry.name, ()):
            raise InvalidRequest(f"`{place}.{setting}`: {entry.name} has no such setting; remove it.")
    if entry.name not in WEB_TOOLS:
        return
    if is_enabled and entry.name not in web.tools:
        raise _not_offered(entry.name, place)
    _check_domains(entry, place)
    if entry.user_location is not None and not web.takes_location:
        raise InvalidRequest(
            f"`{place}.user_location`: this platform's search engine takes no location; remove it.",
            code="not_supported",
        )
    if entry.url_sources is not None:
        _check_sources(entry.url_sources, f"{place}.url_sources", custom)


def check_within_environment(tools: Sequence[JsonObject], config: JsonObject, *, field: str) -> None:
    """Raises InvalidRequest for a domain of an enabled web tool that the environment's `limited` network does not open."""
    hosts = web_hosts(config)
    if hosts is None:
        return
    for tool in tools:
        for entry in cast("list[JsonObject]", tool.get("configs") or []):
            if entry.get("name") not in WEB_TOOLS or entry.get("enabled") is False:
                continue
            for index, domain in enumerate(cast("list[str]", entry.get("allowed_domains") or [])):
                if not is_host_within(hosts, domain.partition("/")[0]):
                    opened = ", ".join(hosts) or "none"
                    raise InvalidRequest(
                        f"`{field}`: {entry['name']} names {domain!r} (allowed_domains[{index}]), which is outside of the "
                        f"environment's allowed_hosts ({opened}); add it to config.networking.allowed_hosts, or take "
                        "it out of the agent's tools."
                    )


def resolve_web_settings(name: str, entry: ToolConfigParams | None) -> JsonObject:
    """Resolve the settings of a web tool, to be added to its configuration; none for other tools."""
    resolved: JsonObject = dict.fromkeys(_SETTINGS.get(name, ()))
    if entry is None:
        return resolved
    for setting in resolved:
        value = getattr(entry, setting)
        if isinstance(value, UrlSources):
            resolved[setting] = _resolve_sources(value)
        elif isinstance(value, msgspec.Struct):
            resolved[setting] = cast("JsonValue", msgspec.to_builtins(value))
        elif isinstance(value, list):
            resolved[setting] = [_plain_domain(domain) for domain in cast("list[str]", value)]
        else:
            resolved[setting] = value
    return resolved


def offer_mend(name: str) -> str:
    """Say who can offer the web tool, and how."""
    if name == "web_fetch":
        return "The operator can switch it on: REMIT_WEB_TOOLS=1."
    return (
        "The operator can switch it on: REMIT_WEB_TOOLS=1, with a search engine in REMIT_SEARXNG_URL or "
        "REMIT_BRAVE_API_KEY."
    )


def _not_offered(name: str, place: str) -> InvalidRequest:
    return InvalidRequest(
        f'`{place}.name`: {name} is not offered here. {offer_mend(name)} Or give the entry `"enabled": false`.',
        code="not_supported",
    )


def _check_domains(entry: ToolConfigParams, place: str) -> None:
    if entry.allowed_domains is not None and entry.blocked_domains is not None:
        raise InvalidRequest(
            f"`{place}.blocked_domains`: allowed_domains and blocked_domains exclude each other; keep one."
        )
    for setting in ("allowed_domains", "blocked_domains"):
        domains = cast("Sequence[str] | None", getattr(entry, setting))
        if domains is None:
            continue
        where = f"{place}.{setting}"
        if not domains:
            raise InvalidRequest(
                f"`{where}`: an empty list is ambiguous: it could mean every domain or none. Leave the field out for "
                "every domain, or disable the tool for none."
            )
        if len(domains) > DOMAINS_MAX:
            raise InvalidRequest(f"`{where}`: at most {DOMAINS_MAX} domains, not {len(domains)}.")
        may_have_path = entry.name == "web_search" and setting == "allowed_domains"
        first_at: dict[str, int] = {}
        for index, domain in enumerate(domains):
            _check_domain(domain, f"{where}[{index}]", may_have_path=may_have_path)
            if (first := first_at.setdefault(_plain_domain(domain), index)) != index:
                raise InvalidRequest(
                    f"`{where}[{index}]`: {domain!r} stands at {where}[{first}] already; keep one."
                )


def _plain_domain(domain: str) -> str:
    """The one form that is kept: without a final slash, the host in lower case. The letters of a path stay."""
    host, slash, path = domain.removesuffix("/").partition("/")
    return f"{host.lower()}{slash}{path}"


def _check_domain(domain: str, place: str, *, may_have_path: bool) -> None:
    host, slash, path = domain.removesuffix("/").partition("/")
    wrong = None
    if slash and (not may_have_path or not _PATH.fullmatch(f"/{path}")):
        wrong = "a scheme or path does not belong here"
    elif (last := host.lower().rpartition(".")[2]) in _INTERNAL:
        wrong = f"what ends in {last} is no host of the public web"
    elif host.rpartition(".")[2].isdigit():
        wrong = "addresses are not names"
    elif "." not in host:
        wrong = "a top-level domain alone is too much"
    elif not _HOST.fullmatch(host.lower()) or len(host) > _HOST_CHARACTERS_MAX:
        wrong = "no wildcard, port or other character belongs here"
    if wrong is not None:
        raise InvalidRequest(
            f'`{place}`: {domain!r} is no plain host name ({wrong}); write e.g. "docs.example.com", which covers its '
            "subdomains too."
        )


def _check_sources(sources: UrlSources, place: str, custom: Set[str]) -> None:
    known = {"client_tool_results": custom, "server_tool_results": frozenset(WEB_TOOLS)}
    kinds: list[str] = []
    for key in ("user_input", "client_tool_results", "server_tool_results"):
        source = _source(getattr(sources, key))
        kinds.append(source.type if source is not None else "all")
        if source is None:
            continue
        where = f"{place}.{key}"
        names = [tool.name for tool in source.tools or ()]
        if source.type in ("all", "none"):
            if source.tools is not None:
                raise InvalidRequest(f"`{where}.tools`: belongs to the types only and except; remove it.")
            continue
        if key == "user_input":
            raise InvalidRequest(f'`{where}.type`: must be "all" or "none".')
        if not names:
            raise InvalidRequest(f'`{where}.tools`: name at least one tool, or use "none" or "all".')
        if len(set(names)) < len(names):
            raise InvalidRequest(f"`{where}.tools`: a tool is there twice; keep one.")
        for name in names:
            if name not in known[key]:
                raise InvalidRequest(
                    f"`{where}.tools`: {name!r} is not one of: {', '.join(sorted(known[key])) or '(no custom tools)'}."
                )
    if all(kind == "none" for kind in kinds):
        raise InvalidRequest(
            f"`{place}`: with every source at none nothing could ever be fetched; disable the tool instead."
        )


def _source(value: Literal["all", "none"] | UrlSource | None) -> UrlSource | None:
    """The object form of a shorthand."""
    return UrlSource(type=value) if isinstance(value, str) else value


def _resolve_sources(sources: UrlSources) -> JsonObject:
    resolved: JsonObject = {}
    for key in ("user_input", "client_tool_results", "server_tool_results"):
        source = _source(getattr(sources, key))
        if source is None:
            resolved[key] = None
        elif source.tools is None:
            resolved[key] = {"type": source.type}
        else:
            resolved[key] = {
                "type": source.type,
                "tools": [{"type": tool.type, "name": tool.name} for tool in source.tools],
            }
    return resolved
