"""A verifier for tests that waits for a check run elsewhere: a service that outlives every process of Remit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from remit.clock import Clock
from remit.errors import InvalidRequest
from remit.interfaces import CallRecorder
from remit.values import JsonObject, Pending, Principal, Verdict, VerifyRequest


@dataclass
class CheckRuns:
    """The service: check runs by stream, tree and name, and what the checks come to."""

    done: dict[str, bool] = field(default_factory=dict[str, bool])
    """By name of the check: whether it passed."""
    run_seconds: float | None = None
    """After which each is green by itself."""
    seconds: Callable[[], float] = time.monotonic
    """Its own clock, which nobody sets back."""
    begun: dict[tuple[str, str, str], float] = field(default_factory=dict[tuple[str, str, str], float])
    asked: list[VerifyRequest] = field(default_factory=list[VerifyRequest])

    def result(self, request: VerifyRequest, name: str) -> bool | None:
        """Begin it, once, and say what it came to; None: nothing yet."""
        self.asked.append(request)
        began = self.begun.setdefault((request.stream_id, request.tree_digest, name), self.seconds())
        if self.run_seconds is not None and self.seconds() >= began + self.run_seconds:
            return True
        return self.done.get(name)


@dataclass
class CheckRunVerifier:
    """Implements `Verifier`: `{"type": "command", "command": NAME}` is a check of the service."""

    runs: CheckRuns
    clock: Clock
    wait_seconds: float = 60.0
    type: str = "command"

    def is_priced(self, verifier: JsonObject) -> bool:
        return False

    async def check(
        self,
        principal: Principal,
        verifier: JsonObject,
        *,
        toolchains: Sequence[str] = (),
        has_packages: bool = False,
    ) -> None:
        if not verifier.get("command"):
            raise InvalidRequest("`command`: is required; name a check.")

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict | Pending:
        name = str(request.verifier["command"])
        passed = self.runs.result(request, name)
        if passed is None:
            wake_at_us = self.clock.now_us() + round(self.wait_seconds * 1_000_000)
            return Pending(wake_at_us=wake_at_us, waits_for=f"the check run {name!r}")
        summary = f"{name}: {'green' if passed else 'red'}"
        return Verdict(verifier=request.verifier, passed=passed, summary=summary)
