"""What `remit do` concludes of the events that it follows, in whatever order the logs reach it."""

from __future__ import annotations

from itertools import combinations

import pytest

from remit.cli.follow import Answers
from remit.client.stream import JsonObject

FAILED: JsonObject = {"type": "session.status_idle", "stop_reason": {"type": "retries_exhausted"}}
ENDED: JsonObject = {"type": "session.status_idle", "stop_reason": {"type": "end_turn"}}
WORD: JsonObject = {"type": "agent.message"}
PAUSED: JsonObject = {"type": "remit.paused", "wake_at": "2026-11-22T09:10:00Z"}
WORKING: JsonObject = {"type": "remit.working"}


@pytest.mark.parametrize(
    ("remit", "session", "has_come"),
    [
        ([WORKING], [WORD], True),
        ([WORKING, PAUSED], [WORD, FAILED], False),
        ([WORKING, PAUSED], [FAILED], False),
        ([WORKING, PAUSED, PAUSED], [WORD, FAILED, FAILED], False),
        ([WORKING, PAUSED], [FAILED, WORD], True),
        ([WORKING, PAUSED, PAUSED], [WORD, FAILED, WORD, FAILED], False),
        ([WORKING, PAUSED, PAUSED], [FAILED, FAILED, WORD, ENDED], True),
    ],
)
def test_an_answer_after_an_outage_is_seen_however_the_logs_arrive(
    remit: list[JsonObject], session: list[JsonObject], has_come: bool
) -> None:
    count = len(remit) + len(session)
    for places in combinations(range(count), len(remit)):
        answers = Answers()
        of_remit, of_session = iter(remit), iter(session)
        for place in range(count):
            answers.take(next(of_remit if place in places else of_session))
        assert answers.has_come is has_come
