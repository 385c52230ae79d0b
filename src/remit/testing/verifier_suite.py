"""What every verifier must do, whoever wrote it: run these on yours, with a case for each answer it can give.

They ask as the platform does: again after it has answered, sooner than it said, and from another process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from remit.errors import InvalidRequest, VerifierUnavailable
from remit.interfaces import CallRecorder, Verifier
from remit.values import Pending, Verdict, VerifyRequest

ANSWER_SECONDS_MAX = 60.0
"""For one answer of a case: what takes longer waits, and says so."""


@dataclass(frozen=True, kw_only=True)
class VerifierCase:
    """Something to judge."""

    make: Callable[[], Verifier]
    """A fresh one, as another process has it."""
    request: VerifyRequest
    passes: bool
    now_us: Callable[[], int]
    come_about: Callable[[], Awaitable[None]] | None = None
    """Makes come true what it waits for; None: it waits for nothing."""
    recorder: CallRecorder | None = None
    """For one that costs."""


async def _ask(case: VerifierCase, verifier: Verifier) -> Verdict | Pending:
    with anyio.fail_after(ANSWER_SECONDS_MAX):
        return await verifier.verify(case.request, case.recorder if _is_priced(case, verifier) else None)


def _is_priced(case: VerifierCase, verifier: Verifier) -> bool:
    return verifier.is_priced(case.request.verifier)


async def _verdict(case: VerifierCase, verifier: Verifier) -> Verdict:
    if case.come_about is not None:
        await case.come_about()
    said = await _ask(case, verifier)
    assert isinstance(said, Verdict), f"it waits for {said.waits_for!r} although there is nothing to wait for"
    return said


async def takes_what_it_judges_and_refuses_what_it_cannot(case: VerifierCase) -> None:
    """`check` passes the case's specification, and refuses an empty one with a typed error."""
    verifier = case.make()
    await verifier.check(case.request.principal, case.request.verifier)
    try:
        await verifier.check(case.request.principal, {"type": case.request.verifier["type"]})
    except (InvalidRequest, VerifierUnavailable):
        return
    raise AssertionError("a specification that says nothing but its type was taken")


async def says_what_it_found(case: VerifierCase) -> None:
    """One verdict about what was asked, with one line for people."""
    said = await _verdict(case, case.make())
    assert said.passed is case.passes, said.summary
    assert said.verifier == case.request.verifier
    assert said.summary, "a verdict has a line for people"
    assert "\n" not in said.summary


async def says_the_same_again_and_from_another_process(case: VerifierCase) -> None:
    """The platform may ask once more after an answer: its process may have died before that was in the log."""
    verifier = case.make()
    first = await _verdict(case, verifier)
    for one in (verifier, case.make()):
        again = await _ask(case, one)
        assert isinstance(again, Verdict), "it waits after it has answered"
        assert again.passed is first.passed


async def waits_without_holding_anything(case: VerifierCase) -> None:
    """A verifier that waits says so at once, with a time to come and a line for people; it may be asked sooner, and by a
    process that knows nothing of the one that asked first."""
    if case.come_about is None:
        assert isinstance(await _ask(case, case.make()), Verdict), (
            "a case that waits says how that comes about"
        )
        return
    verifier = case.make()
    for one in (verifier, verifier, case.make()):
        said = await _ask(case, one)
        assert isinstance(said, Pending), "it has answered before what it waits for has come about"
        assert said.wake_at_us > case.now_us(), "it wants to be asked again in the past"
        assert said.waits_for, "a wait has a line for people"
        assert "\n" not in said.waits_for
    said = await _verdict(case, case.make())
    assert said.passed is case.passes


CHECKS: tuple[Callable[[VerifierCase], Awaitable[None]], ...] = (
    takes_what_it_judges_and_refuses_what_it_cannot,
    says_what_it_found,
    says_the_same_again_and_from_another_process,
    waits_without_holding_anything,
)


async def run_verifier_suite(make_case: Callable[[], Awaitable[VerifierCase]]) -> None:
    """Every check, each on a fresh case."""
    for check in CHECKS:
        await check(await make_case())
