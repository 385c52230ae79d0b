"""The configuration of an environment, and what it means for its sandboxes. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal, cast
from urllib.parse import urlsplit

from remit.errors import InvalidRequest
from remit.schema.environments import (
    PACKAGE_SOURCES,
    CloudConfigParams,
    ConfigParams,
    LimitedNetwork,
    NetworkParams,
    PackagesParams,
    RegistriesAndHosts,
    SelfHostedConfigParams,
    UnrestrictedNetwork,
)
from remit.schema.wire import not_supported
from remit.values import JsonObject, JsonValue, NetworkPolicy

DefaultNetworking = Literal["limited", "unrestricted"]

HOSTS_MAX = 256
PACKAGES_MAX = 100
PACKAGE_LENGTH_MAX = 200
VARIABLES_MAX = 64
VARIABLES_BYTES_MAX = 32_768
INSTALLED = ("npm", "pip")
"""Sources whose packages are installed; the others would have to change the image's own folders."""
SYSTEM = "apt"
"""Of this source is taken what the machine has already."""
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_PACKAGES = {
    "apt": re.compile(r"[a-z0-9][a-z0-9+.-]*(?:=[A-Za-z0-9.+:~-]+)?"),
    "pip": re.compile(
        r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[A-Za-z0-9._,-]+\])?"
        r"(?:(?:===|[=~!<>]=|[<>])[A-Za-z0-9.*+!_-]+(?:,(?:[=~!<>]=|[<>])[A-Za-z0-9.*+!_-]+)*)?"
    ),
    "npm": re.compile(
        r"(?:@[a-z0-9][a-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*(?:@[A-Za-z0-9^~*][A-Za-z0-9.*+_-]*)?"
    ),
}
_EXAMPLES = {"apt": "`ripgrep`", "npm": "`typescript@5.6.3`", "pip": "`requests==2.32.3`"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED = re.compile(
    r"(?i:(?:HTTPS?|ALL|NO)_PROXY)|PATH|HOME|USER|PYTHONPATH|NODE_PATH|LD_.*|BASH_ENV|ENV|IFS|REMIT_.*"
)


def resolve_config(
    config: ConfigParams | None,
    *,
    current: JsonObject | None = None,
    default_networking: DefaultNetworking = "limited",
    missing: Collection[str] = (),
) -> JsonObject:
    """The whole configuration from what was given; what is left out stays as in `current`, or gets its default.
    `missing` are those system packages (`apt`) that the machine does not have. Raises InvalidRequest naming the field."""
    if isinstance(config, SelfHostedConfigParams):
        raise not_supported("config.type", "self_hosted environments are", 'Use {"type": "cloud"}.')
    given = config or CloudConfigParams()
    packages = _packages(given.packages, cast("JsonObject", (current or {}).get("packages") or {}), missing)
    has_packages = any(packages[source] for source in INSTALLED)
    known = cast("JsonObject | None", (current or {}).get("networking"))
    if given.networking is None and known is None:
        networking = _default_network(default_networking, has_packages=has_packages)
    else:
        networking = _network(given.networking, known)
    if has_packages and networking["type"] == "limited" and not networking["allow_package_managers"]:
        raise InvalidRequest(
            "`config.networking.allow_package_managers`: packages need it under limited networking; make it true."
        )
    resolved: JsonObject = {"type": "cloud", "networking": networking, "packages": packages}
    variables = (current or {}).get("variables") if given.variables is None else _variables(given.variables)
    if variables:
        resolved["variables"] = variables
    return resolved


def network_policy(config: JsonObject, mcp_urls: Sequence[str] = ()) -> NetworkPolicy:
    """Return the network that sandboxes of this environment reach; `mcp_urls` are the agent's MCP servers."""
    networking = cast("JsonObject", config.get("networking") or {"type": "limited"})
    if networking["type"] == "unrestricted":
        return NetworkPolicy(mode="unrestricted")
    hosts = [host.lower() for host in cast("list[str]", networking.get("allowed_hosts") or [])]
    if networking.get("allow_mcp_servers"):
        hosts += [host for host in (urlsplit(url).hostname for url in mcp_urls) if host]
    has_registries = bool(networking.get("allow_package_managers"))
    if not hosts and not has_registries:
        return NetworkPolicy()
    return NetworkPolicy(
        mode="limited", allowed_hosts=tuple(dict.fromkeys(hosts)), has_registries=has_registries
    )


def web_hosts(config: JsonObject) -> tuple[str, ...] | None:
    """Return the hosts that web tools reach in this environment's sessions; None: any public host.

    Registries and MCP servers that `limited` opens to sandboxes are not among them.
    """
    networking = cast("JsonObject", config.get("networking") or {"type": "limited"})
    if networking["type"] == "unrestricted":
        return None
    return tuple(host.lower() for host in cast("list[str]", networking.get("allowed_hosts") or []))


def is_host_within(hosts: Sequence[str], host: str) -> bool:
    """Return whether `hosts` (exact names, or `*.example.com` for every name below it) cover this one."""
    name = host.lower().removesuffix(".")
    return any(name.endswith(entry[1:]) if entry.startswith("*.") else name == entry for entry in hosts)


def variables_of(config: JsonObject) -> dict[str, str]:
    """The environment's own variables."""
    return cast("dict[str, str]", config.get("variables") or {})


def packages_of(config: JsonObject) -> dict[str, tuple[str, ...]]:
    """Return the packages to be installed, by source; empty when there are none."""
    packages = cast("JsonObject", config.get("packages") or {})
    wanted = {source: tuple(cast("list[str]", packages.get(source) or [])) for source in INSTALLED}
    return {source: names for source, names in wanted.items() if names}


def _default_network(default: DefaultNetworking, *, has_packages: bool) -> JsonObject:
    if default == "unrestricted":
        return {"type": "unrestricted"}
    return _limited([], allow_mcp_servers=False, allow_package_managers=has_packages)


def _network(given: NetworkParams | None, current: JsonObject | None) -> JsonObject:
    if given is None:
        assert current is not None
        return current
    if isinstance(given, UnrestrictedNetwork):
        return {"type": "unrestricted"}
    if isinstance(given, RegistriesAndHosts):
        given = LimitedNetwork(allowed_hosts=given.allowed_hosts, allow_package_managers=True)
    before = current if current is not None and current["type"] == "limited" else {}
    hosts = given.allowed_hosts
    if hosts is None:
        hosts = cast("list[str]", before.get("allowed_hosts") or [])
    else:
        _check_hosts(hosts)
    flags = {
        name: bool(before.get(name)) if getattr(given, name) is None else bool(getattr(given, name))
        for name in ("allow_mcp_servers", "allow_package_managers")
    }
    return _limited(hosts, **flags)


def _limited(hosts: Sequence[str], *, allow_mcp_servers: bool, allow_package_managers: bool) -> JsonObject:
    return {
        "type": "limited",
        "allowed_hosts": list[JsonValue](hosts),
        "allow_mcp_servers": allow_mcp_servers,
        "allow_package_managers": allow_package_managers,
    }


def _check_hosts(hosts: Sequence[str]) -> None:
    field = "config.networking.allowed_hosts"
    if len(hosts) > HOSTS_MAX:
        raise InvalidRequest(f"`{field}`: at most {HOSTS_MAX} hosts; use `*.example.com` for many names.")
    for host in hosts:
        if host == "*":
            raise InvalidRequest(
                f'`{field}`: "*" alone would be every host; say that with `networking` {{"type": "unrestricted"}}, or name '
                "what is meant: `*.example.com`, or `*.com` for all below a top-level name."
            )
        if len(host) > 253 or not _HOST.fullmatch(host.lower()):
            raise InvalidRequest(
                f"`{field}`: {host[:100]!r} is no host; write a bare name such as `api.example.com` or `*.example.com`, "
                "without scheme, port or path."
            )


def system_packages(config: ConfigParams | None) -> list[str]:
    """The system packages that a configuration names. Raises InvalidRequest for what is no name of one."""
    if not isinstance(config, CloudConfigParams) or config.packages is None:
        return []
    names = config.packages.apt or []
    _check_names("apt", names)
    return names


def _packages(given: PackagesParams | None, current: JsonObject, missing: Collection[str]) -> JsonObject:
    resolved: JsonObject = {"type": "packages"}
    for source in PACKAGE_SOURCES:
        names: list[str] | None = getattr(given, source) if given is not None else None
        if names is None:
            resolved[source] = current.get(source) or []
            continue
        _check_packages(source, names, missing)
        resolved[source] = list[JsonValue](names)
    return resolved


def _check_packages(source: str, names: Sequence[str], missing: Collection[str]) -> None:
    field = f"config.packages.{source}"
    lacking = [name for name in names if name in missing]
    if source == SYSTEM and lacking:
        raise not_supported(
            field,
            f"this machine has no {', '.join(lacking)}, and installing system packages is",
            "It would change the read-only system folders, which are this machine's own. Remove them, or have the operator "
            "install them on the machine or add a folder of programs to the image (--toolchain).",
        )
    if names and source not in (*INSTALLED, SYSTEM):
        raise not_supported(
            field,
            f"{source} is",
            f"Remit installs pip and npm packages; for {source}, its packages are built with tools and folders that the "
            "image does not have. Remove them; the operator can install them on the machine or add a folder of programs "
            "to the image (--toolchain).",
        )
    _check_names(source, names)


def _check_names(source: str, names: Sequence[str]) -> None:
    field = f"config.packages.{source}"
    if len(names) > PACKAGES_MAX:
        raise InvalidRequest(f"`{field}`: at most {PACKAGES_MAX} packages.")
    for name in names:
        if len(name) > PACKAGE_LENGTH_MAX or not _PACKAGES[source].fullmatch(name):
            raise InvalidRequest(
                f"`{field}`: {name[:100]!r} is no package; write it as {_EXAMPLES[source]}: no options, addresses, paths "
                "or blanks."
            )


def _variables(given: dict[str, str]) -> JsonObject:
    field = "config.variables"
    if len(given) > VARIABLES_MAX:
        raise InvalidRequest(f"`{field}`: at most {VARIABLES_MAX} variables.")
    for name, value in given.items():
        if not _VARIABLE.fullmatch(name):
            raise InvalidRequest(
                f"`{field}`: {name[:100]!r} is no name of a variable; use letters, digits and underscores."
            )
        if _RESERVED.fullmatch(name):
            raise InvalidRequest(f"`{field}.{name}`: Remit sets it itself; choose another name.")
        if "\0" in value:
            raise InvalidRequest(f"`{field}.{name}`: a value cannot hold a NUL character.")
    if sum(len(name) + len(value.encode()) for name, value in given.items()) > VARIABLES_BYTES_MAX:
        raise InvalidRequest(
            f"`{field}`: at most {VARIABLES_BYTES_MAX} bytes in all; put files into the input."
        )
    return dict[str, JsonValue](given)
