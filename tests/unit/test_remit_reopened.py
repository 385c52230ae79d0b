"""A remit that ended at its budget goes on with a higher one, in the same session, and no cap is ever passed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remit.errors import InvalidRequest, WrongState
from remit.remits.events import Budget, Command, InputReceived
from remit.remits.reopening import is_to_be_raised, require_raised
from remit.values import Append, JsonObject, JsonValue, SetCap
from support.remit_bench import RemitBench
from support.session_bench import PRINCIPAL, say, script, use

pytestmark = pytest.mark.anyio

LONG = "thinking " * 400


def wordy(name: str, **input: JsonValue) -> JsonObject:
    """A tool use after many words."""
    return {"text": LONG, **use(name, **input)}


SCRIPTS = {
    "dear": script(
        wordy("write", file_path="/workspace/draft.txt", content="41\n"),
        # What does not fit whole is cut, so it is tried more than once.
        *[wordy("write", file_path="/workspace/answer.txt", content="42\n")] * 5,
        say("Done."),
        say("Yes."),
    ),
    "graded": {
        "rules": [
            {
                "when": {"last_user_contains": "It is right."},
                "steps": [
                    {
                        "text": '{"criteria": [{"criterion": "right", "met": true, "explanation": ""}], '
                        '"explanation": "", "verdict": "pass"}'
                    }
                ],
            }
        ],
        "steps": [say("I did it.")],
        "default": {"text": "Nothing more to do."},
    },
    "idle": script(say("I did nothing."), say("Still nothing."), say("No.")),
}
ANSWERS = [{"type": "command", "command": "grep -qx 42 answer.txt"}]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[RemitBench]:
    bench = RemitBench(tmp_path, scripts=SCRIPTS)
    yield bench
    await bench.close()


async def raise_to(bench: RemitBench, remit_id: str, budget: Budget) -> None:
    """As the route does it."""
    await is_to_be_raised(bench.store, PRINCIPAL, remit_id, await bench.state(remit_id), budget)
    command = Command(id=bench.ids.new("revt"), type="remit.raise", actor=PRINCIPAL.actor, budget=budget)
    event = InputReceived(id=command.id, event=command).as_row(key=command.id)
    await bench.store.append(
        PRINCIPAL, Append(stream_id=remit_id, events=(event,), wake_at_us=bench.clock.now_us())
    )
    bench.sessions.hints.hint(remit_id)


async def test_a_remit_at_its_budget_goes_on_in_its_session_with_what_is_granted_on_top(
    bench: RemitBench,
) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", budget={"usd": "0.11"}
    )
    async with bench.running():
        first = await bench.ended(remit_id)
        assert first.ended is not None
        assert first.ended.status == "budget_reached"
        spent_before = float(first.ended.spent.usd)
        assert 0 < spent_before < 0.11
        await raise_to(bench, remit_id, Budget(usd="2"))
        await bench.wait_for(remit_id, "remit.ended", count=2)
    state = await bench.state(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.ended.verified) == ("satisfied", True)
    assert float(state.ended.spent.usd) > spent_before
    assert len(await bench.store.accounts(PRINCIPAL, state.session_ids[0])) == 4
    types = await bench.types(remit_id)
    assert types.count("remit.session_created") == 1
    assert types[types.index("remit.reopened") :] == [
        "remit.reopened",
        "remit.iteration_ended",
        "remit.deliverables_ready",
        "remit.ended",
    ]
    view = await bench.view(remit_id)
    assert view["budget"] == view["cap"] == {"usd": "2", "tokens": None}
    receipt = await bench.receipt(remit_id)
    assert receipt["spent"] == {"usd": state.ended.spent.usd, "tokens": state.ended.spent.tokens}
    assert [v.message for v in (await bench.check(remit_id)).violations] == []
    workspace = {(a.unit, a.purpose): a for a in await bench.store.accounts(PRINCIPAL, "wrkspc_one")}
    assert workspace["nano_usd", "work"].granted == 0
    assert workspace["nano_usd", "work"].spent == round(float(state.ended.spent.usd) * 1e9)


async def test_a_remit_can_be_raised_again_and_again(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", budget={"tokens": 200}
    )
    async with bench.running():
        for number, tokens in enumerate((300, 1_200, 100_000), start=1):
            state = await bench.wait_for(remit_id, "remit.ended", count=number)
            assert state.ended is not None
            assert state.ended.status == "budget_reached"
            assert [v.message for v in (await bench.check(remit_id)).violations] == []
            await raise_to(bench, remit_id, Budget(tokens=tokens))
        await bench.wait_for(remit_id, "remit.ended", count=4)
    state = await bench.state(remit_id)
    assert state.ended is not None
    assert state.ended.status == "satisfied"
    assert state.budget == Budget(tokens=100_000)
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_what_could_not_be_judged_for_want_of_money_is_judged_and_not_done_again(
    bench: RemitBench,
) -> None:
    remit_id = await bench.create(
        outcome="Answer",
        verifiers=[{"type": "rubric", "rubric": "It is right.", "model": "scripted/graded"}],
        model="scripted/graded",
        budget={"tokens": 4_000},
    )
    async with bench.running():
        first = await bench.ended(remit_id)
        assert first.ended is not None
        assert (first.ended.status, first.iterations) == ("budget_reached", ())
        session_id = first.session_ids[0]
        said = await bench.sessions.bodies(session_id, "agent.message")
        assert len(said) == 1, "the work was done, and not judged"
        await raise_to(bench, remit_id, Budget(tokens=1_000_000))
        state = await bench.wait_for(remit_id, "remit.ended", count=2)
    assert state.ended is not None
    assert (state.ended.status, state.ended.verified) == ("satisfied", True)
    assert await bench.sessions.bodies(session_id, "agent.message") == said
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_a_workspace_that_cannot_pay_leaves_it_ended_with_its_result(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", budget={"usd": "0.11"}
    )
    async with bench.running():
        before = await bench.ended(remit_id)
        head = await bench.store.head(PRINCIPAL, "wrkspc_one")
        accounts = await bench.store.accounts(PRINCIPAL, "wrkspc_one")
        assert before.ended is not None
        work = next(a for a in accounts if (a.unit, a.purpose) == ("nano_usd", "work"))
        await bench.store.append(
            PRINCIPAL,
            Append(
                stream_id="wrkspc_one",
                expected_seq=head.seq,
                effects=(SetCap(unit="nano_usd", purpose="work", cap=work.spent + 1),),
            ),
        )
        await raise_to(bench, remit_id, Budget(usd="2"))
        state = await bench.wait_for(remit_id, "remit.ended", count=2)
    assert state.ended is not None
    assert state.ended.status == "budget_reached"
    assert "does not fit" in state.ended.explanation
    assert state.deliverables == before.deliverables is not None
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (Budget(usd="0.01"), ("`usd`: $0.01 is the whole budget", "are spent already; give more than")),
        (Budget(tokens=5), ("`tokens`", "nothing to raise; give `usd`")),
    ],
)
async def test_a_budget_that_leaves_nothing_is_refused_with_the_figures(
    bench: RemitBench, budget: Budget, says: tuple[str, ...]
) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", budget={"usd": "0.11"}
    )
    async with bench.running():
        await bench.ended(remit_id)
    with pytest.raises(InvalidRequest) as refused:
        await raise_to(bench, remit_id, budget)
    assert all(part in refused.value.message for part in says), refused.value.message


async def test_other_ends_cannot_be_raised_and_say_how_to_start_anew(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer it's all", verifiers=ANSWERS, model="scripted/idle", max_iterations=2
    )
    with pytest.raises(WrongState, match="has not ended"):
        await raise_to(bench, remit_id, Budget(usd="4"))
    async with bench.running():
        await bench.ended(remit_id)
    with pytest.raises(WrongState) as refused:
        await raise_to(bench, remit_id, Budget(usd="4"))
    assert "unsatisfied" in refused.value.message
    assert (
        """remit do 'Answer it'"'"'s all' --verify 'grep -qx 42 answer.txt' --budget 1 --budget 1000000tokens"""
        in refused.value.message
    )


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (Budget(usd="1"), "$1.00 is below the budget there is ($2.00)"),
        (Budget(usd="3", tokens=9), "9 tokens is below the budget there is (10 tokens)"),
        (Budget(usd="2"), None),
        (Budget(usd="3"), None),
        (Budget(tokens=11), None),
    ],
)
def test_a_raise_lowers_nothing(new: Budget, says: str | None) -> None:
    before = Budget(usd="2", tokens=10)
    if says is None:
        require_raised("remit_1", before, new, {"nano_usd": 0, "tokens": 0})
        return
    with pytest.raises(InvalidRequest) as refusal:
        require_raised("remit_1", before, new, {"nano_usd": 0, "tokens": 0})
    assert says in refusal.value.message
