"""The fold of rows about a session's machine: sandboxes, snapshots, files, packages, services."""

from __future__ import annotations

from typing import cast

from remit.clock import rfc3339
from remit.session import machine_rows
from remit.session.rows import FilesPinned
from remit.session.sendable import text_block
from remit.session.state import SandboxRecord, SessionState, Snapshot
from remit.values import EventRow, JsonObject, JsonValue

LEFT_OUT_NAMED_MAX = 20
"""Told to the model; the log has more."""


def files_pinned(state: SessionState, row: EventRow, body: FilesPinned) -> None:
    state.files.update(body.files)


def resource_added(state: SessionState, row: EventRow, body: machine_rows.ResourceAdded) -> None:
    resource = body.resource
    state.resources[str(resource["id"])] = resource
    _tell_of_resource(state, f"The file {resource['mount_path']} was added, read-only.")


def resource_removed(state: SessionState, row: EventRow, body: machine_rows.ResourceRemoved) -> None:
    resource = state.resources.pop(body.resource_id, None)
    if resource is not None:
        _tell_of_resource(state, f"The file {resource['mount_path']} was taken away.")


def _tell_of_resource(state: SessionState, what: str) -> None:
    """What is there at the first model call stands in the facts; later changes are said where they happen."""
    if state.facts is None:
        return
    state.history.add_user([text_block(f"<system>\n{what}\n</system>")])


def sandbox_started(state: SessionState, row: EventRow, body: machine_rows.SandboxStarted) -> None:
    state.sandbox = SandboxRecord(
        sandbox_id=body.sandbox_id, tree_digest=body.tree_digest, key=body.key, memory=body.memory
    )
    state.memory_agreed = {}
    state.isolation = {
        "provider": body.provider,
        "level": body.isolation,
        "not_held": None if body.not_held is None else list[JsonValue](body.not_held),
    }


def memory_synced(state: SessionState, row: EventRow, body: machine_rows.MemorySynced) -> None:
    state.memory_agreed.setdefault(body.memory_store_id, {}).update(body.agreed)


def memory_not_kept(state: SessionState, row: EventRow, body: machine_rows.SessionMemoryNotKept) -> None:
    lines = [
        f"- {body.mount_path + str(file['path'])!r}: {file['why']}"
        + (f"; your text is at {file['kept_at']}" if "kept_at" in file else "")
        for file in body.files[:LEFT_OUT_NAMED_MAX]
    ]
    if more := len(body.files) - len(lines) + body.more:
        lines.append(f"- and {more:,} more")
    text = "\n".join(["These files are not kept as memories as they are:", *lines])
    state.history.add_user([text_block(f"<system>\n{text}\n</system>")])


def packages_installed(state: SessionState, row: EventRow, body: machine_rows.PackagesInstalled) -> None:
    state.packages_digest = body.tree_digest


def services_seen(state: SessionState, row: EventRow, body: machine_rows.ServicesSeen) -> None:
    state.services = body.services


def sandbox_lost(state: SessionState, row: EventRow, body: machine_rows.SessionSandboxLost) -> None:
    state.sandbox = None
    state.services = []
    state.changes_since_snapshot = []
    state.history.add_user([text_block(_describe_loss(body))])


def _describe_loss(body: machine_rows.SessionSandboxLost) -> str:
    restored, lost = body.restored_from, body.lost or {}
    uses = cast("list[str]", lost.get("tool_use_ids") or [])
    where = (
        f"The working tree was restored from the snapshot taken at {restored['taken_at']}."
        if restored is not None and restored.get("taken_at")
        else "The working tree was restored to what the session started with."
    )
    effects = (
        f" File changes of the last {len(uses)} tool uses before the loss may be missing: check before you rely on them."
        if uses
        else " No file change is known to be missing."
    )
    services = cast("list[JsonObject]", lost.get("services") or [])
    listened = ", ".join(f"port {service['port']} ({service['command']})" for service in services)
    gone = (
        f" These services ended with it: {listened}; start them again if they are needed." if listened else ""
    )
    left_out = cast("list[JsonObject]", lost.get("left_out") or [])
    named = ", ".join(f"{one['path']} ({one['why']})" for one in left_out[:LEFT_OUT_NAMED_MAX])
    more = ", …" if len(left_out) > LEFT_OUT_NAMED_MAX else ""
    missing = f" A snapshot cannot hold these, they are gone: {named}{more}." if left_out else ""
    return (
        f"<system>\nThe sandbox was lost ({body.reason}). {where}{effects} "
        f"Shell variables, the current directory and background processes are gone.{gone}{missing}\n</system>"
    )


def keep_tree(state: SessionState, digest: str | None) -> None:
    """Know the newest durable state of the working tree, whichever row tells of it."""
    if digest is not None:
        state.standing.tree_digest = digest


def sandbox_released(state: SessionState, row: EventRow, body: machine_rows.SandboxReleased) -> None:
    keep_tree(state, body.tree_digest)
    state.sandbox = None
    state.services = []
    state.changes_since_snapshot = []


def snapshot_taken(state: SessionState, row: EventRow, body: machine_rows.SnapshotTaken) -> None:
    keep_tree(state, body.tree_digest)
    covers = body.covers_seq
    state.snapshot = Snapshot(
        tree_digest=body.tree_digest,
        covers_seq=covers,
        taken_at=rfc3339(row.created_at_us),
        left_out=tuple(body.left_out or ()),
    )
    state.outputs_digest = body.outputs_digest
    state.changes_since_snapshot = [change for change in state.changes_since_snapshot if change[0] > covers]
