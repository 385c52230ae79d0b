"""What a session's environment adds to its sandboxes, as its log says: network, variables, installed packages."""

from __future__ import annotations

from typing import cast

from remit.resources.environment_config import network_policy, variables_of
from remit.session.state import SessionState
from remit.values import JsonObject, NetworkPolicy, ReadOnlyTree

PACKAGES = "/mnt/packages"
"""Where installed packages are, read-only: `python` and `node` below it."""


def config_of(state: SessionState) -> JsonObject:
    """The environment's configuration when the session was made; a later change of the environment is not its."""
    return cast("JsonObject", state.created.get("config") or {})


def network_of(state: SessionState) -> NetworkPolicy:
    """What its sandboxes reach. A verifier's reaches nothing."""
    servers = cast("list[JsonObject]", state.agent.get("mcp_servers") or [])
    return network_policy(config_of(state), [str(server["url"]) for server in servers if "url" in server])


def variables(state: SessionState) -> dict[str, str]:
    """The environment's variables, and where interpreters find installed packages."""
    found = dict(variables_of(config_of(state)))
    if state.packages_digest is not None:
        found |= {
            "PYTHONPATH": f"{PACKAGES}/python",
            "NODE_PATH": f"{PACKAGES}/node/node_modules",
        }
    return found


def search_path(state: SessionState) -> tuple[str, ...]:
    """The folders of programs that installed packages bring."""
    if state.packages_digest is None:
        return ()
    return (f"{PACKAGES}/python/bin", f"{PACKAGES}/node/node_modules/.bin")


def package_mounts(state: SessionState) -> tuple[ReadOnlyTree, ...]:
    """Installed packages as a read-only tree."""
    if state.packages_digest is None:
        return ()
    return (ReadOnlyTree(path=PACKAGES, tree_digest=state.packages_digest),)
