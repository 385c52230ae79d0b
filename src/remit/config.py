"""Settings: one table, read from flags, then REMIT_* variables, then DATA/remit.toml, then the defaults below."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from remit.errors import InvalidRequest


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table."""

    variables: tuple[str, ...]
    """Environment variables, the first that is set wins."""
    parse: Callable[[str], object]
    meaning: str
    is_secret: bool = False
    separator: str = os.pathsep
    """Between the items of a list."""


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("expected true or false")


def _folders(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(os.pathsep) if part)


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _ports(text: str) -> tuple[int, ...]:
    ports = tuple(int(part) for part in _words(text))
    if not all(0 < port < 65_536 for port in ports):
        raise ValueError("a port is from 1 to 65535")
    return ports


def _networking(text: str) -> str:
    if text not in ("limited", "unrestricted"):
        raise ValueError("expected limited or unrestricted")
    return text


def _positive(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError("must be a number that is not negative")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("must be at least 1")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise ValueError("a port is from 0 (any free one) to 65535")
    return value


def _key(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a key has no blanks and only ASCII")
    return text


def _http_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("expected an address that begins with http:// or https://")
    return text


def _database_url(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("expected postgresql://USER@HOST:PORT/NAME")
    return text


def _registry_url(text: str) -> str:
    if "@" in _http_url(text):
        raise ValueError("what packages run as they are installed could read a user name or password in it")
    return text


def _openai_protocol(text: str) -> str:
    if text not in ("chat", "responses"):
        raise ValueError("expected chat or responses")
    return text


def _owner(text: str) -> str:
    if text not in ("background", "foreground"):
        raise ValueError("expected background or foreground")
    return text


FILE_NAME = "remit.toml"
"""In the data folder."""
SETTINGS: Mapping[str, Setting] = {
    "data": Setting(
        variables=("REMIT_DATA",), parse=Path, meaning="The data folder; its owner serves the API."
    ),
    "database": Setting(
        variables=("REMIT_DATABASE",),
        parse=_database_url,
        meaning="A PostgreSQL database (`postgresql://USER@HOST:PORT/NAME`) instead of SQLite in the data folder; several "
        "processes may share it.",
        is_secret=True,
    ),
    "database_connections": Setting(
        variables=("REMIT_DATABASE_CONNECTIONS",),
        parse=_count,
        meaning="Connections of this process for streams; four more are for resources and keys.",
    ),
    "database_pooled": Setting(
        variables=("REMIT_DATABASE_POOLED",),
        parse=_boolean,
        meaning="A pooler in transaction mode (PgBouncer) stands before the database: no statement is kept prepared.",
    ),
    "blobs": Setting(
        variables=("REMIT_BLOBS",),
        parse=Path,
        meaning="The folder of blobs; processes that share a database share it too. Else DATA/blobs.",
    ),
    "owner": Setting(
        variables=("REMIT_OWNER",),
        parse=_owner,
        meaning="Where the platform runs when no process has it yet: `background` (a process of its own, which ends when "
        "it is idle) or `foreground` (in the command itself, for containers and CI).",
    ),
    "owner_idle_seconds": Setting(
        variables=("REMIT_OWNER_IDLE_SECONDS",),
        parse=_positive,
        meaning="How long an owner in the background stays when nothing runs and nobody asks.",
    ),
    "host": Setting(
        variables=("REMIT_HOST",),
        parse=str,
        meaning="The address that `remit up` serves on; there is no TLS.",
    ),
    "port": Setting(
        variables=("REMIT_PORT",), parse=_port, meaning="The port of `remit up`; 0 takes any that is free."
    ),
    "public_url": Setting(
        variables=("REMIT_PUBLIC_URL",),
        parse=_http_url,
        meaning="What links to pages begin with, where others reach `remit up` by another address (a proxy).",
    ),
    "api_key": Setting(
        variables=("REMIT_API_KEY",),
        parse=_key,
        meaning="A key of the operator's, instead of one that Remit makes.",
        is_secret=True,
    ),
    "model": Setting(variables=("REMIT_MODEL",), parse=str, meaning="The model when none is named."),
    "anthropic_api_key": Setting(
        variables=("REMIT_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        parse=str,
        meaning="Key of the Anthropic provider.",
        is_secret=True,
    ),
    "anthropic_base_url": Setting(
        variables=("REMIT_ANTHROPIC_BASE_URL",), parse=str, meaning="Where the Anthropic protocol is spoken."
    ),
    "openai_api_key": Setting(
        variables=("REMIT_OPENAI_API_KEY",),
        parse=str,
        meaning="Key of the OpenAI-compatible provider, wherever it is.",
        is_secret=True,
    ),
    "openai_vendor_api_key": Setting(
        variables=("OPENAI_API_KEY",),
        parse=str,
        meaning="OpenAI's own key; sent to OpenAI alone, when `openai_api_key` is not set.",
        is_secret=True,
    ),
    "openai_protocol": Setting(
        variables=("REMIT_OPENAI_PROTOCOL",),
        parse=_openai_protocol,
        meaning="`chat` (Chat Completions) or `responses`: what is spoken with the OpenAI-compatible provider.",
    ),
    "openai_base_url": Setting(
        variables=("REMIT_OPENAI_BASE_URL",),
        parse=str,
        meaning="An OpenAI-compatible server (vLLM, Ollama, llama.cpp …).",
    ),
    "local_models": Setting(
        variables=("REMIT_LOCAL_MODELS",),
        parse=Path,
        meaning="Where `remit model install` keeps weights; several data folders may share it. Else DATA/models.",
    ),
    "scripted": Setting(
        variables=("REMIT_SCRIPTED",),
        parse=Path,
        meaning="Folder of scripts (NAME.json) served as `scripted/NAME`.",
    ),
    "unsafe_local": Setting(
        variables=("REMIT_UNSAFE_LOCAL",),
        parse=_boolean,
        meaning="Run tools without any isolation. Said everywhere.",
    ),
    "toolchains": Setting(
        variables=("REMIT_TOOLCHAINS",),
        parse=_folders,
        meaning="Folders every sandbox may read besides the image (a virtual environment), separated by `:`.",
    ),
    "runtime": Setting(
        variables=("REMIT_RUNTIME",),
        parse=Path,
        meaning="Where live sandboxes and the image stand; outside any home when the server is root.",
    ),
    "sandbox_idle_seconds": Setting(
        variables=("REMIT_SANDBOX_IDLE_SECONDS",),
        parse=_positive,
        meaning="How long an idle sandbox is kept.",
    ),
    "sandboxes_max": Setting(
        variables=("REMIT_SANDBOXES_MAX",),
        parse=_count,
        meaning="Sessions that have a live sandbox at once; one more waits for the longest idle one to leave.",
    ),
    "streams_max": Setting(
        variables=("REMIT_STREAMS_MAX",),
        parse=_count,
        meaning="Sessions and remits that are worked on at once; a fifth of the places is kept from any one workspace.",
    ),
    "requests_max": Setting(
        variables=("REMIT_REQUESTS_MAX",),
        parse=_count,
        meaning="Requests under way at once; one more is answered 529. A workspace has at most three quarters, a key half.",
    ),
    "readers_max": Setting(
        variables=("REMIT_READERS_MAX",),
        parse=_count,
        meaning="Event streams read at once; one more is answered 529. A workspace has at most three quarters, a key half.",
    ),
    "default_networking": Setting(
        variables=("REMIT_DEFAULT_NETWORKING",),
        parse=_networking,
        meaning="What an environment has that says nothing of networking: `limited` (to nothing) or `unrestricted`.",
    ),
    "egress_ports": Setting(
        variables=("REMIT_EGRESS_PORTS",),
        parse=_ports,
        meaning="Ports that sandboxes may reach, separated by commas.",
        separator=",",
    ),
    "egress_private_hosts": Setting(
        variables=("REMIT_EGRESS_PRIVATE_HOSTS",),
        parse=_words,
        meaning="Names, addresses or networks, each perhaps with `:port`, that sandboxes may reach although they are private.",
        separator=",",
    ),
    "egress_unredacted_hosts": Setting(
        variables=("REMIT_EGRESS_UNREDACTED_HOSTS",),
        parse=_words,
        meaning="Places of credentials (`name`, `name:port`, `http://name:port`) that stream: answers are not looked through.",
        separator=",",
    ),
    "registry_hosts": Setting(
        variables=("REMIT_REGISTRY_HOSTS",),
        parse=_words,
        meaning="Hosts that `allow_package_managers` opens, besides those of the two addresses below.",
        separator=",",
    ),
    "pip_index_url": Setting(
        variables=("REMIT_PIP_INDEX_URL",),
        parse=_registry_url,
        meaning="Where an environment's pip packages come from.",
    ),
    "npm_registry": Setting(
        variables=("REMIT_NPM_REGISTRY",),
        parse=_registry_url,
        meaning="Where an environment's npm packages come from.",
    ),
    "web_tools": Setting(
        variables=("REMIT_WEB_TOOLS",),
        parse=_boolean,
        meaning="Agents may have web_fetch, and web_search if there is a search engine below. Off unless set.",
    ),
    "searxng_url": Setting(
        variables=("REMIT_SEARXNG_URL",),
        parse=_http_url,
        meaning="A SearXNG of your own for web_search (with `json` among its formats); goes before Brave.",
    ),
    "brave_api_key": Setting(
        variables=("REMIT_BRAVE_API_KEY",),
        parse=_key,
        meaning="Key of Brave Search, for web_search.",
        is_secret=True,
    ),
    "web_search_usd_per_thousand": Setting(
        variables=("REMIT_WEB_SEARCH_USD_PER_THOUSAND",),
        parse=_positive,
        meaning="What a thousand searches cost. Unset: 10 dollars with Brave, nothing with your own SearXNG.",
    ),
    "metrics_open": Setting(
        variables=("REMIT_METRICS_OPEN",),
        parse=_boolean,
        meaning="`/metrics` is answered without a key. Else it takes one with the scope `operator`.",
    ),
    "model_calls": Setting(
        variables=("REMIT_MODEL_CALLS",),
        parse=_count,
        meaning="How many calls with one provider key run at once to begin with. Answers raise it, up to four times that; "
        "refusals lower it.",
    ),
    "reader_wait_seconds": Setting(
        variables=("REMIT_READER_WAIT_SECONDS",),
        parse=_positive,
        meaning="How long a turn of an API-created session waits for a first reader.",
    ),
}
"""Every setting that a flag or a variable can set. Tables of the file only: [prices."MODEL"], [aliases],
[routes."NAME"], [models."NAME"], [credentials.NAME]."""

TABLES: Mapping[str, str] = {
    "prices": 'prices."MODEL"',
    "aliases": "aliases",
    "routes": 'routes."NAME"',
    "models": 'models."NAME"',
    "credentials": "credentials.NAME",
}
"""Those tables, and how their heads are written."""


def _no_table() -> dict[str, Any]:  # Any: TOML as tomllib gives it
    return {}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a process runs with."""

    data: Path = field(default_factory=lambda: Path.home() / ".remit")
    database: str | None = field(default=None, repr=False)
    database_connections: int = 10
    database_pooled: bool = False
    blobs: Path | None = None
    owner: Literal["background", "foreground"] = "background"
    owner_idle_seconds: float = 60.0
    host: str = "127.0.0.1"
    port: int = 8400
    public_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str = "https://api.anthropic.com"
    openai_api_key: str | None = field(default=None, repr=False)
    openai_vendor_api_key: str | None = field(default=None, repr=False)
    openai_protocol: str = "chat"
    openai_base_url: str | None = None
    local_models: Path | None = None
    scripted: Path | None = None
    unsafe_local: bool = False
    toolchains: tuple[str, ...] = ()
    runtime: Path | None = None
    sandbox_idle_seconds: float = 300.0
    sandboxes_max: int = 256
    streams_max: int = 320
    requests_max: int = 4_096
    readers_max: int = 8_192
    default_networking: Literal["limited", "unrestricted"] = "limited"
    egress_ports: tuple[int, ...] = (80, 443)
    egress_private_hosts: tuple[str, ...] = ()
    egress_unredacted_hosts: tuple[str, ...] = ()
    registry_hosts: tuple[str, ...] = ("pypi.org", "files.pythonhosted.org", "registry.npmjs.org")
    pip_index_url: str = "https://pypi.org/simple"
    npm_registry: str = "https://registry.npmjs.org/"
    web_tools: bool = False
    searxng_url: str | None = None
    brave_api_key: str | None = field(default=None, repr=False)
    web_search_usd_per_thousand: float | None = None
    metrics_open: bool = False
    model_calls: int = 64
    reader_wait_seconds: float = 0.3
    prices: Mapping[str, Any] = field(default_factory=_no_table)
    aliases: Mapping[str, str] = field(default_factory=_no_table)
    routes: Mapping[str, Any] = field(default_factory=_no_table)
    models: Mapping[str, Any] = field(default_factory=_no_table)
    credentials: Mapping[str, Any] = field(default_factory=_no_table)


_PATHS = frozenset({"data", "blobs", "local_models", "scripted", "runtime"})


def load_settings(environment: Mapping[str, str] | None = None, **flags: object) -> Settings:
    """Settings from flags, environment and file, in this order. Raises InvalidRequest that names the setting."""
    variables = os.environ if environment is None else environment
    chosen: dict[str, object] = {}
    for name, setting in SETTINGS.items():
        for variable in setting.variables:
            text = variables.get(variable)
            if text:
                chosen[name] = _parse(setting, text, where=variable)
                break
    chosen |= {name: value for name, value in flags.items() if value is not None}
    data = cast("Path", chosen.get("data") or Settings().data)
    for name, value in _read_file(data / FILE_NAME).items():
        chosen.setdefault(name, value)
    unknown = set(chosen) - {one.name for one in fields(Settings)}
    if unknown:
        raise InvalidRequest(f"unknown setting {sorted(unknown)[0]!r}; see `docs/settings.md`")
    chosen["data"] = data
    # The process that runs the platform stands in no folder of the user's.
    for name in _PATHS & chosen.keys():
        chosen[name] = Path(cast("Path", chosen[name])).expanduser().absolute()
    if "toolchains" in chosen:
        chosen["toolchains"] = tuple(
            str(Path(folder).absolute()) for folder in cast("tuple[str, ...]", chosen["toolchains"])
        )
    return Settings(**cast("dict[str, Any]", chosen))


def _parse(setting: Setting, text: str, *, where: str) -> object:
    try:
        return setting.parse(text)
    except ValueError as error:
        shown = "(a secret)" if setting.is_secret or "@" in text else repr(text)
        raise InvalidRequest(f"{where}={shown} is not usable: {error}") from error


def _read_file(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise InvalidRequest(f"the data folder {path.parent} is no folder; give one with --data") from error
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is not valid TOML: {error}") from error
    chosen: dict[str, object] = {}
    for name, value in table.items():
        if name in TABLES:
            if not isinstance(value, dict):
                raise InvalidRequest(f"{path}: `{name}` must be a table, such as [{TABLES[name]}]")
            if name == "aliases":
                _check_aliases(path, cast("dict[str, object]", value))
            chosen[name] = value
        elif name in SETTINGS and name != "data":
            setting = SETTINGS[name]
            items = (
                [str(item) for item in cast("list[object]", value)]
                if isinstance(value, list)
                else [str(value)]
            )
            chosen[name] = _parse(setting, setting.separator.join(items), where=f"{path}: {name}")
        else:
            raise InvalidRequest(f"{path}: unknown setting {name!r}; see `docs/settings.md`")
    return chosen


def _check_aliases(path: Path, aliases: Mapping[str, object]) -> None:
    for alias, model in aliases.items():
        if not isinstance(model, str) or not model:
            raise InvalidRequest(f"{path}: [aliases] {alias!r} must be the id of a model, not {model!r}")
