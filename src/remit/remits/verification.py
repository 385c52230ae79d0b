"""Verification that belongs to the remit itself: of the input before any work, and again on demand."""

from __future__ import annotations

from collections.abc import Sequence

from remit.catalog.environment_config import packages_of
from remit.catalog.owned_blobs import OwnedBlobs
from remit.errors import SandboxUnavailable
from remit.orchestrator.packages import PackageInstaller
from remit.orchestrator.surroundings import package_mounts, search_path, variables
from remit.remits.events import RemitCreated, RemitSetupEnded
from remit.remits.git_files import HISTORY_PATH
from remit.values import (
    ConsentReason,
    JsonObject,
    Pending,
    Principal,
    ReadOnlyTree,
    Tree,
    Value,
    Verdict,
    VerifyRequest,
)
from remit.verifiers.composition import Verifiers


class RemitVerdicts(Value, frozen=True, kw_only=True):
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
    """Return the verifiers that cost something."""
    return tuple(verifier for verifier in given if verifiers.is_priced(verifier))


def history_mounts(history_digest: str | None) -> tuple[ReadOnlyTree, ...]:
    """The read-only history of a git input, where sandboxes see it."""
    return () if history_digest is None else (ReadOnlyTree(path=HISTORY_PATH, tree_digest=history_digest),)


class RemitVerification:
    """Lets the verifiers that cost nothing look at a tree, where the remit's environment has put what they need."""

    def __init__(
        self,
        *,
        verifiers: Verifiers,
        blobs: OwnedBlobs,
        installer: PackageInstaller | None = None,
    ) -> None:
        self._verifiers = verifiers
        self._blobs = blobs
        self._installer = installer

    async def judge(
        self,
        principal: Principal,
        remit_id: str,
        created: RemitCreated,
        *,
        verification_id: str,
        tree_digest: str | None,
        baselines: Sequence[str | None] = (),
        despite: Sequence[ConsentReason] = (),
        setup: RemitSetupEnded | None = None,
    ) -> RemitVerdicts:
        """Let them look, and take what they say now: nobody waits here for what a verifier waits for. `baselines` are of
        the run on the untouched input, one for each verifier of the remit. Raises
        SandboxUnavailable, SandboxLost, BlobMissing."""
        setup = setup or RemitSetupEnded()
        indexes = free_verifiers(self._verifiers, created)
        if not indexes:
            return RemitVerdicts(indexes=(), verdicts=())
        if tree_digest is None:
            tree_digest = await self._blobs.put(principal, remit_id, Tree(entries=()).encode())
        config = created.environment.config if created.environment is not None else {}
        packages_digest = await self._installed(principal, remit_id, created, config)
        request = VerifyRequest(
            principal=principal,
            stream_id=remit_id,
            verification_id=verification_id,
            verifier={},
            tree_digest=tree_digest,
            input_tree_digest=created.tree_digest,
            mounts=(
                *history_mounts(created.history_digest),
                *setup.mounts,
                *package_mounts(packages_digest),
            ),
            environment=variables(config, packages_digest, setup.python_path),
            path=search_path(packages_digest, setup.path),
            toolchains=created.toolchains,
            outcome=created.outcome,
            despite=tuple(despite),
        )
        given = [created.verifiers[i] for i in indexes]
        said = await self._verifiers.verify_all(
            request, given, None, baselines=[baselines[i] for i in indexes] if baselines else ()
        )
        verdicts = tuple(_now(verifier, one) for verifier, one in zip(given, said, strict=True))
        return RemitVerdicts(indexes=indexes, verdicts=verdicts)

    async def _installed(
        self, principal: Principal, remit_id: str, created: RemitCreated, config: JsonObject
    ) -> str | None:
        packages = packages_of(config)
        if not packages:
            return None
        if self._installer is None:
            raise SandboxUnavailable("the environment names packages, and nothing here installs them")
        layer = await self._installer.layer(principal, remit_id, packages, created.toolchains)
        return layer.tree_digest


def _now(verifier: JsonObject, said: Verdict | Pending) -> Verdict:
    """What cannot be told yet has not passed."""
    if isinstance(said, Verdict):
        return said
    return Verdict(
        verifier=verifier,
        passed=False,
        summary=f"not known yet: it waits for {said.waits_for}",
        evidence={"waits_for": said.waits_for},
    )
