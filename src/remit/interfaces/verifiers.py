"""Who says whether an outcome holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from remit.interfaces.models import CallRecorder
from remit.values import JsonValue, Pending, Principal, Verdict, VerifyRequest


class Verifier(Protocol):
    """A judge outside the agent's reach that says whether an outcome holds."""

    type: str

    async def check(
        self,
        principal: Principal,
        verifier: dict[str, JsonValue],
        *,
        toolchains: Sequence[str] = (),
        has_packages: bool = False,
    ) -> None:
        """Refuse a specification that cannot run here (VerifierUnavailable, InvalidRequest), before anything is spent.
        With `has_packages` the environment installs packages: a program that the image lacks may come with them."""
        ...

    def is_priced(self, verifier: dict[str, JsonValue]) -> bool:
        """Return whether running the verifier costs money (a grader) or not (a command)."""
        ...

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict | Pending:
        """Judge a tree. `recorder` is given to priced ones. Raises HoldRefused, ModelCallFailed, SandboxUnavailable,
        SandboxLost: none of these is a verdict.

        Pending: it waits for something, and is asked again with the same request once that time has come, by whoever works
        on the session then; perhaps sooner, and perhaps once more after it has answered, which it then does in the same
        way. It is asked no more when people interrupt, send the agent on, or another verifier has failed: it must not rely
        on being told. What it begins elsewhere it finds again by the request's stream, tree and specification, since a
        process may die between its answer and the log."""
        ...
