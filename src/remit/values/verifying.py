"""Requests to verifiers, and their verdicts."""

from __future__ import annotations

from typing import Literal

from remit.values.principals import Principal
from remit.values.trees import ReadOnlyTree
from remit.values.value import JsonObject, Value

ConsentReason = Literal["cost", "vacuous", "cannot_run", "work_unclear", "unseen", "drafted"]
"""Why a remit asks before it spends. `cost` is accepted by consent itself, each other one by name (`despite`)."""


class Verdict(Value, frozen=True, kw_only=True):
    """One verifier's answer about one tree."""

    verifier: JsonObject
    """Its specification, as in the outcome."""
    passed: bool
    summary: str
    """One line for people."""
    output: str = ""
    """What goes back to the agent as a revision; bounded."""
    evidence: JsonObject = {}
    """exit_code, image digest, tree digest, hashes of protected files, duration …"""
    tampered: tuple[str, ...] = ()
    """Protected files that were changed or removed: fails the iteration."""
    added: tuple[str, ...] = ()
    """New files that match protected patterns: left out of the verification copy, reported."""
    rests_on_work: tuple[str, ...] = ()
    """Files that the command read and that are the work's: changed or added by it."""
    reasons: tuple[ConsentReason, ...] = ()
    """Of a run on the untouched input: what a person must accept before anything is spent."""
    duration_seconds: float = 0.0


class Pending(Value, frozen=True, kw_only=True):
    """A verifier's word that it cannot say yet, because it waits for something elsewhere: a check run, a merge, a person."""

    wake_at_us: int
    """When it is asked again; nothing runs until then."""
    waits_for: str
    """What for, in one line for people."""


class VerifyRequest(Value, frozen=True, kw_only=True):
    """A request to a verifier: always snapshots by digest, never a live sandbox."""

    principal: Principal
    stream_id: str
    verification_id: str
    """Idempotent per (verification_id, index of the verifier). Who answered Pending is asked again under the same one."""
    verifier: JsonObject
    tree_digest: str
    """The working tree to judge."""
    outputs_digest: str | None = None
    """What the agent left below /mnt/session/outputs; None: nothing."""
    input_tree_digest: str | None
    """The tree the work started from; protected files come from here."""
    mounts: tuple[ReadOnlyTree, ...] = ()
    environment: dict[str, str] = {}
    path: tuple[str, ...] = ()
    """See `SandboxSpec`. A verifier's sandbox has no network, whatever the agent's had."""
    toolchains: tuple[str, ...] = ()
    outcome: str = ""
    """What was asked for, in words; for graders, and for what it names as the work."""
    baseline_digest: str | None = None
    """What the verifier's run on the untouched input showed (`evidence.baseline_digest` of that verdict); None: this is
    that run, or there was none."""
    despite: tuple[ConsentReason, ...] = ()
    """What a person has accepted."""
