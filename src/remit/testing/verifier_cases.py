"""Small working trees for tests of verifiers, and who asks for them to be judged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from remit.interfaces import BlobStore
from remit.values import ConsentReason, JsonObject, Principal, Tree, TreeEntry, VerifyRequest

PRINCIPAL = Principal(workspace_id="wrkspc_test", actor="system", kind="system")

BROKEN = {
    "app.py": "def double(x):\n    return x\n",
    "tests/test_app.py": "from app import double\n\n\ndef test_double():\n    assert double(2) == 4\n",
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
}
"""Work that is not done: one test fails."""
MENDED = BROKEN | {"app.py": "def double(x):\n    return 2 * x\n"}
"""The same, done honestly."""


async def store_tree(blobs: BlobStore, files: Mapping[str, str | bytes]) -> str:
    """Store a tree of `{path: content}` and return its digest. `-> target` is a symlink, `#!` makes it executable."""
    entries: dict[str, TreeEntry] = {}
    for path, content in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            entries[folder] = TreeEntry(path=folder, kind="dir", mode=0o755)
        if isinstance(content, str) and content.startswith("-> "):
            entries[path] = TreeEntry(path=path, kind="symlink", target=content[3:])
            continue
        data = content.encode() if isinstance(content, str) else content
        await blobs.put(data)
        entries[path] = TreeEntry(
            path=path,
            kind="file",
            mode=0o755 if data.startswith(b"#!") else 0o644,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
    return await blobs.put(Tree(entries=tuple(entries[path] for path in sorted(entries))).encode())


def verify_request(
    verifier: JsonObject,
    *,
    tree_digest: str,
    input_tree_digest: str | None,
    verification_id: str = "verif_1",
    outcome: str = "",
    baseline_digest: str | None = None,
    despite: tuple[ConsentReason, ...] = (),
) -> VerifyRequest:
    """A request to judge one tree against the one the work started from."""
    return VerifyRequest(
        principal=PRINCIPAL,
        stream_id="sesn_test",
        verification_id=verification_id,
        verifier=verifier,
        tree_digest=tree_digest,
        input_tree_digest=input_tree_digest,
        outcome=outcome,
        baseline_digest=baseline_digest,
        despite=despite,
    )
