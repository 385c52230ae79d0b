"""A remit from its creation to its end, with real handlers, a scripted model and real commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from remit.errors import InvalidRequest
from remit.remits.creation import INPUT, InputBody
from remit.remits.why import explain_remit
from remit.streams.reading import read_rows
from remit.values import Tree, TreeEntry
from support.remit_bench import RemitBench
from support.session_bench import PRINCIPAL, say, script, use

pytestmark = pytest.mark.anyio

SCRIPTS = {
    "dear": script(use("write", file_path="/workspace/answer.txt", content="42\n"), say("Done.")),
    "twice": script(
        use("write", file_path="/workspace/answer.txt", content="41\n"),
        say("Done."),
        say("Done, I said."),  # the built-in loop asks once whether it was checked
        use("write", file_path="/workspace/answer.txt", content="42\n"),
        say("Now it is right."),
    ),
    "slow": script(
        use("bash", command="sleep 30"),
        use("write", file_path="/workspace/answer.txt", content="42\n"),
        say("Done."),
    ),
    "grader": script(
        say(
            '{"criteria": [{"criterion": "right", "met": true, "explanation": ""}], '
            '"explanation": "It is right.", "verdict": "pass"}'
        )
    ),
    "package": script(
        use("write", file_path="/workspace/src/pkg.py", content="ANSWER = 42\n"), say("Done."), say("Yes.")
    ),
    "strange": script(
        use(
            "bash",
            command="echo 42 > answer.txt; mkfifo pipe; rm kept.txt; mkfifo kept.txt; touch $'caf\\xe9'; "
            "mkdir -p .git empty; touch .git/HEAD; ln -s empty/../.. up; chmod 700 folder",
        ),
        say("Done."),
        say("Yes."),
    ),
    "idle": script(say("I did nothing."), say("Still nothing."), say("No.")),
}
ANSWERS = [{"type": "command", "command": "grep -qx 42 answer.txt"}]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[RemitBench]:
    bench = RemitBench(tmp_path, scripts=SCRIPTS)
    yield bench
    await bench.close()


async def test_work_that_its_verifier_accepts_ends_satisfied_completed_and_verified(
    bench: RemitBench,
) -> None:
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/dear")
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.ended.completed, state.ended.verified) == ("satisfied", True, True)
    assert state.ended.vacuous == ()
    assert await bench.types(remit_id) == [
        "remit.created",
        "remit.approved",
        "remit.initial_verification_started",
        "remit.initial_verification_ended",
        "remit.forecast",
        "remit.session_created",
        "remit.working",
        "remit.iteration_ended",
        "remit.deliverables_ready",
        "remit.ended",
    ]


async def test_money_that_was_not_spent_is_back_with_the_workspace(bench: RemitBench) -> None:
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/dear")
    async with bench.running():
        state = await bench.ended(remit_id)
    session_id = state.session_ids[0]
    for account in await bench.store.accounts(PRINCIPAL, session_id):
        assert account.cap == account.spent
    remit = {(a.unit, a.purpose): a for a in await bench.store.accounts(PRINCIPAL, remit_id)}
    assert all(account.granted == 0 and account.cap == account.spent for account in remit.values())
    workspace = {(a.unit, a.purpose): a for a in await bench.store.accounts(PRINCIPAL, "wrkspc_one")}
    assert all(account.granted == 0 for account in workspace.values())
    assert workspace["nano_usd", "work"].spent == remit["nano_usd", "work"].spent > 0


async def test_the_receipt_adds_up_and_the_checker_finds_nothing(bench: RemitBench) -> None:
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/dear")
    async with bench.running():
        state = await bench.ended(remit_id)
    receipt = await bench.receipt(remit_id)
    assert state.ended is not None
    assert receipt["spent"] == {"usd": state.ended.spent.usd, "tokens": state.ended.spent.tokens}
    assert {call["state"] for call in receipt["calls"]} == {"settled"}  # type: ignore[union-attr, index, call-overload]
    assert [tool["name"] for tool in receipt["tools"]] == ["write"]  # type: ignore[union-attr, index, call-overload]
    report = await bench.check(remit_id)
    assert [v.message for v in report.violations] == []
    assert set(state.session_ids) < set(report.checked)


async def test_a_failing_verifier_goes_back_as_a_revision(bench: RemitBench) -> None:
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/twice")
    async with bench.running():
        state = await bench.ended(remit_id)
    assert [iteration.result for iteration in state.iterations] == ["needs_revision", "satisfied"]
    assert [iteration.iteration for iteration in state.iterations] == [0, 1]
    assert state.ended is not None
    assert state.ended.verified


async def test_iterations_that_are_used_up_end_unsatisfied(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/idle", max_iterations=2
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.ended.verified) == ("unsatisfied", False)
    assert [i.result for i in state.iterations] == ["needs_revision", "max_iterations_reached"]
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_a_verifier_that_was_green_before_proves_nothing(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer",
        verifiers=[{"type": "command", "command": "true"}],
        model="scripted/dear",
        despite=["vacuous"],
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.ended.completed, state.ended.verified) == ("unsatisfied", True, False)
    assert state.ended.vacuous == ("true",)
    assert "already green" in state.ended.explanation


async def test_a_call_that_does_not_fit_ends_with_budget_reached_and_nothing_over(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", budget={"usd": "0.0001"}
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.status == "budget_reached"
    assert state.ended.spent.usd == "0"
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_nothing_is_spent_without_consent_and_declining_stops(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", consent="required"
    )
    async with bench.running():
        await bench.command(remit_id, "remit.decline")
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.session_ids, state.ended.spent.usd) == ("stopped", (), "0")


async def test_an_approved_remit_works(bench: RemitBench) -> None:
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", consent="required"
    )
    async with bench.running():
        await bench.command(remit_id, "remit.approve")
        await bench.command(remit_id, "remit.approve")
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.status == "satisfied"
    assert (await bench.types(remit_id)).count("remit.approved") == 1


async def test_an_interrupt_before_consent_is_kept_and_resumed(bench: RemitBench) -> None:
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/dear")
    await bench.command(remit_id, "remit.interrupt")
    async with bench.running():
        state = await bench.wait_for(remit_id, "remit.interrupted")
        assert state.status == "interrupted"
        await bench.command(remit_id, "remit.resume")
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.status == "satisfied"


async def test_an_interrupt_at_work_keeps_everything_and_resuming_goes_on_in_the_same_session(
    bench: RemitBench,
) -> None:
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/slow")
    async with bench.running():
        working = await bench.wait_for(remit_id, "remit.working")
        session_id = working.session_ids[0]
        await bench.sessions.wait_for(session_id, "tool.started")
        await bench.command(remit_id, "remit.interrupt")
        await bench.wait_for(remit_id, "remit.interrupted")
        await bench.sessions.wait_idle(session_id)
        assert (await bench.state(remit_id)).ended is None
        await bench.command(remit_id, "remit.resume")
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.ended.verified, state.session_ids) == ("satisfied", True, (session_id,))
    assert (await bench.types(remit_id)).count("remit.interrupted") == 1
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_an_interrupt_while_the_input_is_verified_cuts_that_and_resuming_repeats_it(
    bench: RemitBench,
) -> None:
    slow = [{"type": "command", "command": "test -e answer.txt || sleep 5; grep -qx 42 answer.txt"}]
    remit_id = await bench.create(outcome="Answer", verifiers=slow, model="scripted/dear")
    async with bench.running():
        await bench.wait_for(remit_id, "remit.initial_verification_started")
        await bench.command(remit_id, "remit.interrupt")
        state = await bench.wait_for(remit_id, "remit.interrupted")
    assert (state.status, state.initial) == ("interrupted", None)


async def test_the_changed_files_are_handed_over_the_same_every_time(bench: RemitBench) -> None:
    input_id = await bench.upload({"answer.txt": "0\n", "kept.txt": "same\n"})
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", input_id=input_id
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.deliverables is not None
    assert [(file.path, file.kind) for file in state.deliverables.changed] == [("answer.txt", "modified")]
    assert [file.name for file in state.deliverables.files] == ["files.tar"]
    assert await bench.catalog.has_reference(PRINCIPAL, state.deliverables.files[0].sha256)


async def test_the_verifiers_can_be_run_again_on_the_result(bench: RemitBench) -> None:
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/dear")
    async with bench.running():
        await bench.ended(remit_id)
        command_id = await bench.command(remit_id, "remit.verify")
        state = await bench.wait_for(remit_id, "remit.verification_repeated")
    assert state.repeated is not None
    assert (state.repeated.id, state.repeated.verified) == (command_id, True)
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_a_rubric_is_graded_and_paid_from_the_verification_account(bench: RemitBench) -> None:
    rubric = {"type": "rubric", "rubric": "The answer is right.", "model": "scripted/grader"}
    remit_id = await bench.create(
        outcome="Answer",
        verifiers=[*ANSWERS, rubric],
        model="scripted/dear",
        budget={"usd": "5", "tokens": 2_000_000},
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.ended.verified) == ("satisfied", True)
    accounts = {(a.unit, a.purpose): a for a in await bench.store.accounts(PRINCIPAL, remit_id)}
    assert accounts["tokens", "verification"].spent > 0
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_two_remits_at_once_do_not_mix_their_money(bench: RemitBench) -> None:
    ids = [
        await bench.create(outcome=f"Answer {n}", verifiers=ANSWERS, model="scripted/dear") for n in range(4)
    ]
    async with bench.running():
        for remit_id in ids:
            await bench.ended(remit_id)
    for remit_id in ids:
        assert [v.message for v in (await bench.check(remit_id)).violations] == []
    workspace = {(a.unit, a.purpose): a for a in await bench.store.accounts(PRINCIPAL, "wrkspc_one")}
    spent = [
        account.spent
        for remit_id in ids
        for account in await bench.store.accounts(PRINCIPAL, remit_id)
        if (account.unit, account.purpose) == ("nano_usd", "work")
    ]
    assert workspace["nano_usd", "work"].spent == sum(spent)


async def test_what_stands_around_the_work_is_found_before_the_input_is_verified(bench: RemitBench) -> None:
    input_id = await bench.upload(
        {"pyproject.toml": '[project]\nname = "pkg"\nversion = "1.0"\n', "src/pkg.py": "ANSWER = 41\n"}
    )
    command = 'python3 -c \'import pkg, importlib.metadata as m; assert m.version("pkg") == "1.0"; exit(pkg.ANSWER != 42)\''
    remit_id = await bench.create(
        outcome="Answer",
        verifiers=[{"type": "command", "command": command}],
        model="scripted/package",
        input_id=input_id,
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.verified, state.ended.explanation
    types = await bench.types(remit_id)
    assert types.index("remit.setup_ended") < types.index("remit.initial_verification_started")
    assert types.count("remit.setup_ended") == 1
    shown = (await bench.view(remit_id))["setup"]
    assert isinstance(shown, dict)
    assert shown["python_path"] == ["/workspace/src", "/mnt/project-metadata"]


async def test_a_setup_that_cannot_run_stops_the_remit_before_anything_is_spent(bench: RemitBench) -> None:
    input_id = await bench.upload({"package.json": "{}"})
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", input_id=input_id, setup="npm ci"
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.ended.spent.usd) == ("stopped", "0")
    assert "The work could not be set up" in state.ended.explanation
    assert state.session is None


@pytest.mark.parametrize("fields", [{"setup": "npm ci"}, {"setup": "  ", "input_id": "input_1"}])
async def test_a_setup_of_nothing_is_refused(bench: RemitBench, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="`setup`"):
        await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/dear", **fields)


async def test_what_is_told_of_the_surroundings_stands_in_the_forecast(bench: RemitBench) -> None:
    input_id = await bench.upload({"setup.py": "setup(name='pkg')", "pkg/__init__.py": "", "types.py": ""})
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", input_id=input_id
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.forecast is not None
    assert any("types would stand in for the interpreter's own" in note for note in state.forecast.notes)


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["d" * 250] * 20)])
async def test_an_input_that_cannot_be_written_ends_the_remit_with_the_reason(
    bench: RemitBench, name: str
) -> None:
    """The edge refuses such names now; a full disk, or an upload of an older version, is found when it is written."""
    input_id = await bench.upload({"plain": "x"})
    resource = await bench.catalog.retrieve(PRINCIPAL, INPUT.name, input_id)
    body = msgspec.json.decode(resource.body, type=InputBody)
    digest = await bench.blobs.put(b"x")
    entry = TreeEntry(path=name, kind="file", sha256=digest, size=1)
    body = msgspec.structs.replace(body, tree_digest=await bench.blobs.put(Tree(entries=(entry,)).encode()))
    changed = msgspec.structs.replace(resource, body=msgspec.json.encode(body))
    await bench.catalog.update(PRINCIPAL, changed, expected_version=1, is_new_version=False)
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/dear", input_id=input_id
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.status == "stopped"
    assert "the working tree cannot be written" in state.ended.explanation
    assert "File name too long" in state.ended.explanation


async def test_what_an_agent_leaves_is_handed_over_or_named_everywhere_and_never_removed(
    bench: RemitBench,
) -> None:
    input_id = await bench.upload({"answer.txt": "0\n", "kept.txt": "same\n", "folder/a": "a"})
    remit_id = await bench.create(
        outcome="Answer", verifiers=ANSWERS, model="scripted/strange", input_id=input_id
    )
    async with bench.running():
        state = await bench.ended(remit_id)
    ready = state.deliverables
    assert ready is not None
    assert [(file.path, file.kind) for file in ready.changed] == [("answer.txt", "modified")]
    assert [(one.path, one.kind, one.mode) for one in ready.folders] == [
        ("empty", "added", 0o755),
        ("folder", "modified", 0o700),
    ]
    assert ready.removed == ()
    told = " ".join(ready.notes)
    for words in (
        "caf\\xe9 (a name that is not UTF-8), kept.txt (a named pipe), pipe (a named pipe)",
        "1 files of git's own were left out, nobody can land them: .git",
        "1 symlinks were left out, for they lead out of the folder: up",
    ):
        assert words in told
    view = await bench.view(remit_id)
    assert view["result_notes"] == list(ready.notes)
    rows = await read_rows(bench.store, PRINCIPAL, remit_id)
    why = explain_remit(rows, await bench.store.head(PRINCIPAL, remit_id), None, now_us=bench.clock.now_us())
    assert all(f"Of its result: {note}." in why.sentences for note in ready.notes)
