"""The fold of a deployment and what comes next: pure, without a store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from remit.clock import parse_rfc3339, rfc3339
from remit.deployments.rows import (
    DeploymentArchived,
    DeploymentConfig,
    DeploymentCreated,
    DeploymentPaused,
    DeploymentUnpaused,
    DeploymentUpdated,
    FiringsMissed,
    PausedReason,
    RunDecided,
    RunFailed,
    RunRequested,
    RunSucceeded,
    Schedule,
)
from remit.deployments.schedule import Cron
from remit.deployments.state import DeploymentState, fold
from remit.deployments.steps import (
    LATE_US_MAX,
    BeginRequested,
    BeginScheduled,
    CarryOut,
    NoteMissed,
    Rest,
    Step,
    next_step,
)
from remit.streams.rows import PublicRow, RowBody
from remit.values import EventRow

ID = "depl_1"
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
BORN_US = parse_rfc3339("2026-12-01T08:00:30Z")
HOURLY = Schedule(expression="0 * * * *", timezone="UTC")
MINUTELY = Schedule(expression="* * * * *", timezone="UTC")


def config(schedule: Schedule | None = HOURLY, **fields: str) -> DeploymentConfig:
    return DeploymentConfig(
        name="n",
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        initial_events=({"type": "user.message", "content": []},),
        schedule=schedule,
        **fields,  # type: ignore[arg-type]  # names of its fields
    )


def rows(*given: tuple[int, RowBody]) -> list[EventRow]:
    """Rows as the store has them, each with its time."""
    made: list[EventRow] = []
    for seq, (at_us, body) in enumerate(given, start=1):
        stamp = {"processed_at": rfc3339(at_us)} if isinstance(body, PublicRow) else {}
        new = type(body)(
            **{name: getattr(body, name) for name in body.__struct_fields__} | {"id": f"devt_{seq}", **stamp}
        )
        row = new.as_row()
        made.append(
            EventRow(
                workspace_id="w",
                stream_id=ID,
                seq=seq,
                event_id=row.event_id,
                type=row.type,
                visibility=row.visibility,
                schema_version=1,
                created_at_us=at_us,
                body=row.body,
            )
        )
    return made


def state_of(*given: tuple[int, RowBody]) -> DeploymentState:
    whole = rows(*given)
    state = fold(whole, DeploymentState())
    for length in range(len(whole)):  # folding in parts gives the same as at once
        assert fold(whole[length:], fold(whole[:length], DeploymentState())) == state
    return state


def at(text: str) -> int:
    return parse_rfc3339(f"2026-12-01T{text}Z")


def fires(text: str, schedule: Schedule = HOURLY) -> int:
    return Cron(schedule.expression, schedule.timezone).fires_at_us(at(text), ID)


def born(schedule: Schedule | None = HOURLY) -> tuple[int, RowBody]:
    return BORN_US, DeploymentCreated(config=config(schedule), actor="apikey_1")


def step(state: DeploymentState, now_us: int) -> Step:
    return next_step(state, ID, now_us)


MANUAL = PausedReason(type="manual")


def test_it_sleeps_until_the_jittered_time_and_then_fires_the_scheduled_one() -> None:
    state = state_of(born())
    assert step(state, BORN_US) == Rest(wake_at_us=fires("09:00:00"))
    assert step(state, fires("09:00:00") - 1) == Rest(wake_at_us=fires("09:00:00"))
    assert step(state, fires("09:00:00")) == BeginScheduled(scheduled_us=at("09:00:00"))


@pytest.mark.parametrize(
    "more",
    [
        [],
        [(BORN_US + 1, DeploymentPaused(reason=MANUAL))],
        [(BORN_US + 1, DeploymentArchived(actor="a"))],
    ],
)
def test_without_a_schedule_paused_or_archived_it_sleeps_until_somebody_acts(
    more: Sequence[tuple[int, RowBody]],
) -> None:
    state = state_of(born(HOURLY if more else None), *more)
    assert step(state, at("12:00:00")) == Rest()


def test_a_run_that_was_begun_is_carried_out_before_anything_else_and_once() -> None:
    decided = RunDecided(run_id="drun_1", session_id="sesn_1", scheduled_us=at("09:00:00"))
    begun = state_of(born(), (at("09:00:05"), decided))
    carry_out = step(begun, at("09:00:06"))
    assert isinstance(carry_out, CarryOut)
    assert carry_out.run.decided.session_id == "sesn_1"
    over = state_of(
        born(),
        (at("09:00:05"), decided),
        (at("09:00:07"), RunSucceeded(run_id="drun_1", session_id="sesn_1", scheduled_at="t")),
    )
    assert over.last_run_at_us == at("09:00:05")
    assert step(over, at("09:00:08")) == Rest(wake_at_us=fires("10:00:00"))
    # A second worker that decided the same time an instant later decides nothing.
    again = RunDecided(run_id="drun_2", session_id="sesn_2", scheduled_us=at("09:00:00"))
    twice = state_of(born(), (at("09:00:05"), decided), (at("09:00:06"), again))
    assert twice.run is not None
    assert twice.run.decided.run_id == "drun_1"


@pytest.mark.parametrize(
    "overtaking",
    [
        DeploymentPaused(reason=MANUAL),
        DeploymentArchived(actor="a"),
        DeploymentUpdated(config=config(MINUTELY), actor="a"),
        DeploymentUpdated(config=config(None), actor="a"),
    ],
)
def test_a_firing_that_was_decided_an_instant_after_a_change_is_void(overtaking: RowBody) -> None:
    decided = RunDecided(run_id="drun_1", session_id="sesn_1", scheduled_us=at("09:00:00"))
    state = state_of(born(), (at("09:00:05"), overtaking), (at("09:00:06"), decided))
    assert state.run is None
    assert not isinstance(step(state, at("09:00:07")), CarryOut)


def test_of_the_times_that_are_due_only_the_last_is_fired_and_the_others_are_noted() -> None:
    state = state_of(born(MINUTELY))
    now_us = fires("08:05:00", MINUTELY)
    missed = step(state, now_us)
    assert missed == NoteMissed(first_us=at("08:01:00"), until_us=at("08:05:00") - 1)
    assert isinstance(missed, NoteMissed)
    noted = FiringsMissed(first_at=rfc3339(missed.first_us), until_at=rfc3339(missed.until_us))
    assert step(state_of(born(MINUTELY), (now_us, noted)), now_us) == BeginScheduled(
        scheduled_us=at("08:05:00")
    )


def test_a_firing_is_late_by_a_takeover_but_not_by_more() -> None:
    state = state_of(born())
    in_time, too_late = fires("09:00:00") + LATE_US_MAX, fires("09:00:00") + LATE_US_MAX + 1
    assert step(state, in_time) == BeginScheduled(scheduled_us=at("09:00:00"))
    missed = step(state, too_late)
    assert isinstance(missed, NoteMissed)
    assert (missed.first_us, missed.until_us >= at("09:00:00")) == (at("09:00:00"), True)


def test_years_without_a_server_are_noted_in_one_step() -> None:
    state = state_of(born(MINUTELY))
    now_us = BORN_US + 10 * 365 * 24 * 60 * MINUTE_US
    missed = step(state, now_us)
    assert isinstance(missed, NoteMissed)
    assert missed.first_us == at("08:01:00")
    assert isinstance(missed, NoteMissed)
    noted = FiringsMissed(first_at=rfc3339(missed.first_us), until_at=rfc3339(missed.until_us))
    assert isinstance(step(state_of(born(MINUTELY), (now_us, noted)), now_us), BeginScheduled | Rest)


def test_unpaused_and_rescheduled_it_makes_up_for_nothing() -> None:
    paused = (at("08:10:00"), DeploymentPaused(reason=MANUAL))
    unpaused = (at("12:30:00"), DeploymentUnpaused(actor="a"))
    assert step(state_of(born(), paused, unpaused), at("12:30:00")) == Rest(wake_at_us=fires("13:00:00"))
    updated = (at("12:30:00"), DeploymentUpdated(config=config(MINUTELY), actor="a"))
    assert step(state_of(born(), updated), at("12:30:00")) == Rest(wake_at_us=fires("12:31:00", MINUTELY))
    renamed = (at("09:00:01"), DeploymentUpdated(config=config(HOURLY, description="d"), actor="a"))
    assert step(state_of(born(), renamed), fires("09:00:00")) == BeginScheduled(scheduled_us=at("09:00:00"))


def test_requested_runs_come_one_by_one_also_while_it_is_paused() -> None:
    asked = [
        (at("08:10:00"), DeploymentPaused(reason=MANUAL)),
        (at("08:11:00"), RunRequested(run_id="drun_1", actor="a")),
        (at("08:12:00"), RunRequested(run_id="drun_2", actor="a")),
    ]
    assert step(state_of(born(), *asked), at("08:13:00")) == BeginRequested(run_id="drun_1")
    ran = [
        (at("08:13:00"), RunDecided(run_id="drun_1", session_id="sesn_1")),
        (at("08:13:01"), RunFailed(run_id="drun_1", error="unknown_error", message="m")),
    ]
    state = state_of(born(), *asked, *ran)
    assert step(state, at("08:14:00")) == BeginRequested(run_id="drun_2")
    assert state.last_run_at_us is None  # of scheduled ones alone


def test_archived_by_its_agent_it_gives_up_what_was_begun_and_by_people_it_does_not() -> None:
    decided = (at("09:00:05"), RunDecided(run_id="drun_1", session_id="sesn_1", scheduled_us=at("09:00:00")))
    by_agent = state_of(born(), decided, (at("09:00:06"), DeploymentArchived()))
    assert step(by_agent, at("09:00:07")) == Rest()
    by_people = state_of(born(), decided, (at("09:00:06"), DeploymentArchived(actor="a")))
    assert isinstance(step(by_people, at("09:00:07")), CarryOut)
