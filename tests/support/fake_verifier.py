"""A verifier for tests that says what it is told to, of the untouched input and of the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from remit.interfaces import CallRecorder
from remit.values import JsonObject, Principal, Verdict, VerifyRequest


@dataclass
class FakeVerifier:
    """Implements `Verifier` for `{"type": "command"}`: its verdicts by command, the first of the input's run and then of
    the work's. What it was asked is kept."""

    input: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    work: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    requests: list[VerifyRequest] = field(default_factory=list[VerifyRequest])
    is_slow: bool = False
    """Its run on the input never ends by itself."""
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
        return

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict:
        self.requests.append(request)
        is_of_input = request.verification_id.startswith("vrfy_")
        if is_of_input and self.is_slow:
            await anyio.sleep_forever()
        said = (self.input if is_of_input else self.work).get(str(request.verifier["command"]))
        said = said or Verdict(verifier={}, passed=not is_of_input, summary="as it should be")
        return Verdict(
            verifier=request.verifier,
            passed=said.passed,
            summary=said.summary,
            output=said.output,
            evidence=said.evidence,
            rests_on_work=said.rests_on_work,
            reasons=said.reasons,
        )
