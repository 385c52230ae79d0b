"""Outputs of a session: what its agent left below /mnt/session/outputs, as files of the workspace.

Which outputs there are follows from the log (the tree of the newest snapshot) alone; a file's id follows from session,
path and content, so that publishing the same tree twice makes nothing twice.
"""

from __future__ import annotations

import hashlib
import mimetypes

from remit.catalog.files import MIME_TYPE_DEFAULT, FileBody, Files
from remit.catalog.trees import read_tree
from remit.interfaces import BlobReader
from remit.session.state import SessionState
from remit.values import Principal, Tree, TreeEntry

OUTPUTS = "/mnt/session/outputs"
OUTPUT_FILES_MAX = 1_000
"""Files of one session that are listed; all are kept for its sandbox."""


async def session_file_ids(state: SessionState, blobs: BlobReader) -> list[str]:
    """Every file of the session: its copies and its outputs."""
    outputs = await read_tree(blobs, state.outputs_digest)
    copies = [str(resource["file_id"]) for resource in state.resources.values()]
    return [*copies, *(output_file_id(state.session_id, entry) for entry in _files(outputs))]


async def add_outputs(
    files: Files, principal: Principal, session_id: str, *, before: Tree, after: Tree
) -> int:
    """Make what is new a file; the bytes are stored. Returns how many are over the limit and left out."""
    known = {output_file_id(session_id, entry) for entry in _files(before)}
    for entry in _files(after):
        file_id = output_file_id(session_id, entry)
        if file_id in known:
            continue  # also when somebody deleted the file: it is not made again until its content changes
        assert entry.sha256 is not None  # of a file
        body = FileBody(
            filename=entry.path,
            mime_type=mimetypes.guess_type(entry.path)[0] or MIME_TYPE_DEFAULT,
            size_bytes=entry.size,
            sha256=entry.sha256,
            session_id=session_id,
        )
        await files.add(principal, file_id, body)
    return max(0, sum(entry.kind == "file" for entry in after.entries) - OUTPUT_FILES_MAX)


async def remove_outputs(
    files: Files, principal: Principal, session_id: str, *, before: Tree, after: Tree
) -> None:
    """Delete what is no longer there as it was."""
    kept = {output_file_id(session_id, entry) for entry in _files(after)}
    gone = [file_id for entry in _files(before) if (file_id := output_file_id(session_id, entry)) not in kept]
    await files.delete_all(principal, gone)


def output_file_id(session_id: str, entry: TreeEntry) -> str:
    """Return the id of an output: another content is another file."""
    name = f"{session_id}\n{entry.path}\n{entry.sha256}"
    return f"file_{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _files(tree: Tree) -> list[TreeEntry]:
    return [entry for entry in tree.entries if entry.kind == "file"][:OUTPUT_FILES_MAX]
