"""Settings: one class, read from flags, then REMIT_* variables, then DATA/remit.toml, then its defaults.

A field's type says how its text is read; what is left out of its `repr` is a secret; its docstring is its line in
`docs/settings.md`.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from remit.errors import InvalidRequest


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


def _one_of(words: tuple[str, ...], text: str) -> str:
    if text not in words:
        raise ValueError(f"expected {' or '.join(words)}")
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


Folders = Annotated[tuple[str, ...], _folders]
Words = Annotated[tuple[str, ...], _words]
Ports = Annotated[tuple[int, ...], _ports]
NotNegative = Annotated[float, _positive]
Count = Annotated[int, _count]
Port = Annotated[int, _port]
Key = Annotated[str, _key]
HttpUrl = Annotated[str, _http_url]
DatabaseUrl = Annotated[str, _database_url]
RegistryUrl = Annotated[str, _registry_url]

FILE_NAME = "remit.toml"
"""In the data folder."""
TABLES: Mapping[str, str] = {
    "prices": 'prices."MODEL"',
    "aliases": "aliases",
    "routes": 'routes."NAME"',
    "models": 'models."NAME"',
    "credentials": "credentials.NAME",
}
"""Tables of the file only, and how their heads are written."""


def _no_table() -> dict[str, Any]:  # Any: TOML as tomllib gives it
    return {}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a process."""

    data: Path = field(default_factory=lambda: Path.home() / ".remit")
    """The data folder; its owner serves the API."""
    database: DatabaseUrl | None = field(default=None, repr=False)
    """A PostgreSQL database (`postgresql://USER@HOST:PORT/NAME`) instead of SQLite in the data folder; several
    processes may share it."""
    database_connections: Count = 10
    """Connections of this process for streams; four more are for resources and keys."""
    database_pooled: bool = False
    """A pooler in transaction mode (PgBouncer) stands before the database: no statement is kept prepared."""
    blobs: Path | None = None
    """The folder of blobs; processes that share a database share it too. Else DATA/blobs."""
    owner: Literal["background", "foreground"] = "background"
    """Where the platform runs when no process has it yet: `background` (a process of its own, which ends when it is
    idle) or `foreground` (in the command itself, for containers and CI)."""
    owner_idle_seconds: NotNegative = 60.0
    """How long an owner in the background stays when nothing runs and nobody asks."""
    host: str = "127.0.0.1"
    """The address that `remit up` serves on; there is no TLS."""
    port: Port = 8400
    """The port of `remit up`; 0 takes any that is free."""
    public_url: HttpUrl | None = None
    """What links to pages begin with, where others reach `remit up` by another address (a proxy)."""
    api_key: Key | None = field(default=None, repr=False)
    """A key of the operator's, instead of one that Remit makes."""
    model: str | None = None
    """The model when none is named."""
    anthropic_api_key: str | None = field(default=None, repr=False)
    """Key of the Anthropic provider."""
    anthropic_base_url: str = "https://api.anthropic.com"
    """Where the Anthropic protocol is spoken."""
    openai_api_key: str | None = field(default=None, repr=False)
    """Key of the OpenAI-compatible provider, wherever it is."""
    openai_vendor_api_key: str | None = field(default=None, repr=False)
    """OpenAI's own key; sent to OpenAI alone, when `openai_api_key` is not set."""
    openai_protocol: Literal["chat", "responses"] = "chat"
    """`chat` (Chat Completions) or `responses`: what is spoken with the OpenAI-compatible provider."""
    openai_base_url: str | None = None
    """An OpenAI-compatible server (vLLM, Ollama, llama.cpp …)."""
    local_models: Path | None = None
    """Where `remit model install` keeps weights; several data folders may share it. Else DATA/models."""
    scripted: Path | None = None
    """Folder of scripts (NAME.json) served as `scripted/NAME`."""
    unsafe_local: bool = False
    """Run tools without any isolation. Said everywhere."""
    toolchains: Folders = ()
    """Folders every sandbox may read besides the image (a virtual environment), separated by `:`."""
    runtime: Path | None = None
    """Where live sandboxes and the image stand; outside any home when the server is root."""
    sandbox_idle_seconds: NotNegative = 300.0
    """How long an idle sandbox is kept."""
    sandboxes_max: Count = 256
    """Sessions that have a live sandbox at once; one more waits for the longest idle one to leave."""
    streams_max: Count = 320
    """Sessions and remits that are worked on at once; a fifth of the places is kept from any one workspace."""
    requests_max: Count = 4_096
    """Requests under way at once; one more is answered 529. A workspace has at most three quarters, a key half."""
    readers_max: Count = 8_192
    """Event streams read at once; one more is answered 529. A workspace has at most three quarters, a key half."""
    default_networking: Literal["limited", "unrestricted"] = "limited"
    """What an environment has that says nothing of networking: `limited` (to nothing) or `unrestricted`."""
    egress_ports: Ports = (80, 443)
    """Ports that sandboxes may reach, separated by commas."""
    egress_private_hosts: Words = ()
    """Names, addresses or networks, each perhaps with `:port`, that sandboxes may reach although they are private."""
    egress_unredacted_hosts: Words = ()
    """Places of credentials (`name`, `name:port`, `http://name:port`) that stream: answers are not looked through."""
    registry_hosts: Words = ("pypi.org", "files.pythonhosted.org", "registry.npmjs.org")
    """Hosts that `allow_package_managers` opens, besides those of the two addresses below."""
    pip_index_url: RegistryUrl = "https://pypi.org/simple"
    """Where an environment's pip packages come from."""
    npm_registry: RegistryUrl = "https://registry.npmjs.org/"
    """Where an environment's npm packages come from."""
    web_tools: bool = False
    """Agents may have web_fetch, and web_search if there is a search engine below. Off unless set."""
    searxng_url: HttpUrl | None = None
    """A SearXNG of your own for web_search (with `json` among its formats); goes before Brave."""
    brave_api_key: Key | None = field(default=None, repr=False)
    """Key of Brave Search, for web_search."""
    web_search_usd_per_thousand: NotNegative | None = None
    """What a thousand searches cost. Unset: 10 dollars with Brave, nothing with your own SearXNG."""
    metrics_open: bool = False
    """`/metrics` is answered without a key. Else it takes one with the scope `operator`."""
    model_calls: Count = 64
    """How many calls with one provider key run at once to begin with. Answers raise it, up to four times that; refusals
    lower it."""
    reader_wait_seconds: NotNegative = 0.3
    """How long a turn of an API-created session waits for a first reader."""
    prices: Mapping[str, Any] = field(default_factory=_no_table)
    aliases: Mapping[str, str] = field(default_factory=_no_table)
    routes: Mapping[str, Any] = field(default_factory=_no_table)
    models: Mapping[str, Any] = field(default_factory=_no_table)
    credentials: Mapping[str, Any] = field(default_factory=_no_table)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a flag, a variable or the file sets one."""

    variables: tuple[str, ...]
    """Environment variables, the first that is set wins."""
    parse: Callable[[str], object]
    is_secret: bool

    @property
    def separator(self) -> str:
        """Between the items of a list."""
        return "," if self.parse in (_words, _ports) else os.pathsep


def _parser_of(hint: Any) -> Callable[[str], object]:  # Any: a type
    given = [one for one in get_args(hint) if one is not NoneType] if NoneType in get_args(hint) else [hint]
    (type,) = given
    if get_origin(type) is Annotated:
        return type.__metadata__[0]
    if get_origin(type) is Literal:
        return partial(_one_of, get_args(type))
    return _boolean if type is bool else type


def _settings() -> dict[str, Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    return {
        one.name: Setting(
            variables=_OTHER_VARIABLES.get(one.name, (f"REMIT_{one.name.upper()}",)),
            parse=_parser_of(hints[one.name]),
            is_secret=not one.repr,
        )
        for one in fields(Settings)
        if one.name not in TABLES
    }


_OTHER_VARIABLES = {
    "anthropic_api_key": ("REMIT_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
    "openai_vendor_api_key": ("OPENAI_API_KEY",),
}
SETTINGS: Mapping[str, Setting] = _settings()
"""Every setting that a flag or a variable can set."""
_PATHS = frozenset(name for name, setting in SETTINGS.items() if setting.parse is Path)


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
