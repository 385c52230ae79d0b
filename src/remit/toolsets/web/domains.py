"""The hosts that a web tool's settings allow. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from remit.catalog.environment_config import is_host_within
from remit.values import JsonObject


@dataclass(frozen=True, kw_only=True)
class DomainRule:
    """`allowed_domains` or `blocked_domains` of a tool (neither: every host), within what the environment opens."""

    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    opened: tuple[str, ...] | None = None
    """The environment's allowed_hosts; None: its network is not limited."""

    def refusal(self, host: str, path: str = "/") -> str | None:
        """Return why an address is not allowed; None if it is."""
        if self.opened is not None and not is_host_within(self.opened, host):
            return (
                f"{host} is not in the allowed_hosts of this session's environment ({', '.join(self.opened) or 'none'}), "
                "whose network is limited; whoever made it can add the host to config.networking.allowed_hosts"
            )
        if self.allowed and not _matches(self.allowed, host, path):
            return f"{host} is not one of the agent's allowed_domains ({', '.join(self.allowed)})"
        if _matches(self.blocked, host, path):
            return f"{host} is one of the agent's blocked_domains"
        return None


def domain_rule(settings: JsonObject, opened: tuple[str, ...] | None = None) -> DomainRule:
    """Make the rule from the resolved configuration of the tool, and what the environment opens."""
    allowed = cast("Sequence[str]", settings.get("allowed_domains") or ())
    blocked = cast("Sequence[str]", settings.get("blocked_domains") or ())
    return DomainRule(allowed=tuple(allowed), blocked=tuple(blocked), opened=opened)


def _matches(domains: Sequence[str], host: str, path: str) -> bool:
    host = host.lower().removesuffix(".")
    for entry in domains:
        domain, _, prefix = entry.partition("/")
        is_host = host == domain or host.endswith(f".{domain}")
        prefix = f"/{prefix}".rstrip("/")
        if is_host and (path == prefix or path.startswith(f"{prefix}/")):
            return True
    return False
