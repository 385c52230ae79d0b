"""The surroundings of a session's working tree: input, network, variables, packages, uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast

import msgspec

from remit.catalog.environment_config import network_policy, variables_of
from remit.session.state import SessionState
from remit.sessions.resources import uploads_tree
from remit.values import UPLOADS, ConsentReason, JsonObject, JsonValue, NetworkPolicy, ReadOnlyTree

PACKAGES = "/mnt/packages"
"""Where installed packages are, read-only: `python` and `node` below it."""


def config_of(state: SessionState) -> JsonObject:
    """The environment's configuration when the session was made; a later change of the environment is not its."""
    return cast("JsonObject", state.created.get("config") or {})


def network_of(state: SessionState) -> NetworkPolicy:
    """Return the network that the session's sandboxes reach. A verifier's reaches nothing."""
    servers = cast("list[JsonObject]", state.agent.get("mcp_servers") or [])
    return network_policy(config_of(state), [str(server["url"]) for server in servers if "url" in server])


def variables(
    config: JsonObject, packages_digest: str | None, python_path: Sequence[str] = ()
) -> dict[str, str]:
    """The environment's variables, and where interpreters find packages: the input's own before installed ones."""
    found = dict(variables_of(config))
    folders = list(python_path)
    if packages_digest is not None:
        folders.append(f"{PACKAGES}/python")
        found["NODE_PATH"] = f"{PACKAGES}/node/node_modules"
    if folders:
        found["PYTHONPATH"] = ":".join(folders)
    return found


def search_path(packages_digest: str | None, first: Sequence[str] = ()) -> tuple[str, ...]:
    """The folders of programs that a setup and installed packages bring."""
    if packages_digest is None:
        return tuple(first)
    return (*first, f"{PACKAGES}/python/bin", f"{PACKAGES}/node/node_modules/.bin")


def session_variables(state: SessionState) -> dict[str, str]:
    """The variables of a session's sandboxes and of its verifiers'."""
    return variables(config_of(state), state.packages_digest, _input_texts(state.created, "python_path"))


def session_path(state: SessionState) -> tuple[str, ...]:
    """Return the folders that come first on the PATH of a session's sandboxes and of its verifiers'."""
    return search_path(state.packages_digest, _input_texts(state.created, "path"))


def _input_texts(created: JsonObject, name: str) -> tuple[str, ...]:
    given = cast("JsonObject | None", created.get("input")) or {}
    return tuple(cast("list[str]", given.get(name) or []))


def package_mounts(packages_digest: str | None) -> tuple[ReadOnlyTree, ...]:
    """Installed packages as a read-only tree."""
    if packages_digest is None:
        return ()
    return (ReadOnlyTree(path=PACKAGES, tree_digest=packages_digest, outlives_server=True),)


def input_mounts(created: JsonObject) -> tuple[ReadOnlyTree, ...]:
    """The read-only trees of a session's input."""
    given = cast("JsonObject | None", created.get("input")) or {}
    return tuple(
        msgspec.convert(mount, ReadOnlyTree) for mount in cast("list[JsonValue]", given.get("mounts") or [])
    )


def input_tree_digest(created: JsonObject) -> str | None:
    """The tree a session started from."""
    given = cast("JsonObject | None", created.get("input")) or {}
    return cast("str | None", given.get("tree_digest"))


def baselines(created: JsonObject) -> tuple[str | None, ...]:
    """Return each verifier's baseline, where a remit had them run on the untouched input."""
    given = cast("JsonObject | None", created.get("input")) or {}
    return tuple(cast("list[str | None]", given.get("baselines") or []))


def despite(created: JsonObject) -> tuple[ConsentReason, ...]:
    """Return the reasons that a person has accepted, left open by the run on the untouched input."""
    given = cast("JsonObject | None", created.get("input")) or {}
    return tuple(cast("list[ConsentReason]", given.get("despite") or []))


def mounts_of(state: SessionState) -> tuple[ReadOnlyTree, ...]:
    """Return the read-only trees of a session's sandboxes: of input, packages and uploads."""
    always = (*input_mounts(state.created), *package_mounts(state.packages_digest))
    uploads = uploads_tree(state.resources)
    if uploads is None:
        return always
    digest = hashlib.sha256(uploads.encode()).hexdigest()
    return (*always, ReadOnlyTree(path=UPLOADS, tree_digest=digest))


def toolchains(created: JsonObject) -> tuple[str, ...]:
    """The operator's toolchain folders of a session."""
    return tuple(cast("list[str]", created.get("toolchains") or []))
