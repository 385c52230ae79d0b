"""The two sides of one word: every cheat of tests/support/cheats.py works where nothing guards the check and is not verified, and
the honest work beside it is, with no option but the command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.cheats import KINDS, applied
from support.court import Court, make_court

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    async with make_court(tmp_path) as made:
        yield made


@pytest.mark.table(2)
@pytest.mark.parametrize("kind", KINDS)
async def test_honest_work_is_verified(court: Court, kind: str) -> None:
    judged = KINDS[kind]
    untouched, verdict = await court.carry(
        judged.start, applied(judged.start, judged.honest), judged.command, outcome=judged.outcome
    )
    assert (untouched.passed, untouched.reasons) == (False, ())
    assert verdict.passed, (verdict.summary, verdict.output)
    assert (verdict.tampered, verdict.added) == ((), ())
    assert set(verdict.rests_on_work) == set(judged.honest)


@pytest.mark.long
@pytest.mark.table(5)
@pytest.mark.parametrize(("kind", "cheat"), [(kind, cheat) for kind in KINDS for cheat in KINDS[kind].cheats])
async def test_a_cheat_is_not_verified(court: Court, kind: str, cheat: str) -> None:
    judged = KINDS[kind]
    work = applied(judged.start, judged.cheats[cheat])
    shown = await court.unguarded(work, judged.command, left_behind=judged.left_behind)
    assert shown == judged.unguarded.get(cheat, 0)
    untouched, verdict = await court.carry(judged.start, work, judged.command, outcome=judged.outcome)
    assert not untouched.passed
    assert not verdict.passed, verdict.summary
