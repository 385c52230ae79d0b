"""Verification that belongs to the remit itself: of the input before any work, and again on demand."""

from __future__ import annotations

from collections.abc import Sequence

from remit.interfaces import BlobStore
from remit.remits.deliverables import HISTORY_PATH
from remit.remits.events import RemitCreated
from remit.values import JsonObject, Principal, ReadOnlyTree, Tree, Value, Verdict, VerifyRequest
from remit.verifiers.composition import Verifiers


class Judged(Value, frozen=True, kw_only=True):
    """Verdicts with the index of each verifier in the remit."""

    indexes: tuple[int, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def green(self) -> tuple[int, ...]:
        """Indexes of verifiers that passed."""
        return tuple(i for i, v in zip(self.indexes, self.verdicts, strict=True) if v.passed)


def free_verifiers(verifiers: Verifiers, created: RemitCreated) -> tuple[int, ...]:
    """Indexes of the verifiers that cost nothing."""
    return tuple(i for i, verifier in enumerate(created.verifiers) if not verifiers.is_priced(verifier))


def priced_verifiers(verifiers: Verifiers, given: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """Those that cost something."""
    return tuple(verifier for verifier in given if verifiers.is_priced(verifier))


def history_mounts(history_digest: str | None) -> tuple[ReadOnlyTree, ...]:
    """The read-only history of a git input, where sandboxes see it."""
    return () if history_digest is None else (ReadOnlyTree(path=HISTORY_PATH, tree_digest=history_digest),)


async def judge_tree(
    *,
    verifiers: Verifiers,
    blobs: BlobStore,
    principal: Principal,
    remit_id: str,
    created: RemitCreated,
    verification_id: str,
    tree_digest: str | None,
) -> Judged:
    """Let the verifiers that cost nothing look at a tree. Raises SandboxUnavailable, SandboxLost, BlobMissing."""
    indexes = free_verifiers(verifiers, created)
    if not indexes:
        return Judged(indexes=(), verdicts=())
    if tree_digest is None:
        tree_digest = await blobs.put(Tree(entries=()).encode())
    request = VerifyRequest(
        principal=principal,
        stream_id=remit_id,
        verification_id=verification_id,
        verifier={},
        tree_digest=tree_digest,
        input_tree_digest=created.tree_digest,
        mounts=history_mounts(created.history_digest),
        toolchains=created.toolchains,
        outcome=created.outcome,
    )
    verdicts = await verifiers.verify_all(request, [created.verifiers[i] for i in indexes], None)
    return Judged(indexes=indexes, verdicts=verdicts)
