"""Each example does what it says, unchanged, on the scripted model of its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.example_server import EXAMPLES, ROOT, SCRIPTS, Conversation, ExampleServer

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

TIMES = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleServer]:
    """One for all but those that kill theirs."""
    with ExampleServer(tmp_path_factory.mktemp("examples")) as one:
        yield one


def lines(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.strip()]


def test_failing_tests_are_mended_and_the_change_is_downloaded(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("fix_failing_tests", folder=tmp_path)
    assert "idle: end_turn" in printed
    assert "-    return sum(prices) * discount / 100\n" in printed
    assert "+    return sum(prices) * (100 - discount) / 100\n" in printed
    assert printed.count("+++") == 1, "what was only read is not shown as changed"


def test_a_report_and_a_chart_are_downloaded(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("analyse_data", "results", folder=tmp_path)
    assert (tmp_path / "results" / "report.md").read_text() == "- north: 3847.50\n- south: 1682.50\n"
    assert (tmp_path / "results" / "chart.svg").read_text().startswith("<svg ")
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"report.md", "chart.svg"}
    assert re.search(r"^results/report.md  text/markdown  34 bytes$", printed, re.MULTILINE)
    assert "North sells" in printed


def test_a_person_declines_with_a_reason_and_approves_the_second_text(
    server: ExampleServer, tmp_path: Path
) -> None:
    printed = server.run("approval_gate", folder=tmp_path, typed="Nothing lasts for ever\nyes\nyes\n")
    assert printed.count("--- to be approved ---") == 3, "two at once, and one of them again"
    assert "claim: lasts for ever" in printed
    assert lines(printed)[-2:] == [
        "Our new city bicycle weighs 14 kg and has a belt drive. The frame has ten years of guarantee.",
        "(end_turn)",
    ]


def test_a_command_runs_only_when_it_is_allowed(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("confirm_tools", folder=tmp_path, typed="yes\nkeep the good ones\nyes\n")
    assert re.findall(r"wants to run: (.*)", printed)[1:] == ["rm -r notes", "rm notes/c"]
    assert "error: A person refused this call; it was not run. They said: keep the good ones" in printed
    assert "ok: /workspace/notes/a\n/workspace/notes/b\nTwo notes are left." in printed


def test_a_rubric_sends_the_work_back_until_it_is_met(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("outcome_with_rubric", folder=tmp_path)
    assert re.findall(r"^(needs_revision|satisfied):", printed, re.MULTILINE) == [
        "needs_revision",
        "satisfied",
    ]
    assert (
        "needs_revision: 1 of 2 criteria met: Cost\nThe cost is missing.\n- Cost: There is no figure."
        in printed
    )
    assert "satisfied after 2 of 3 iterations" in printed
    assert "40 euros a month" in printed


def test_an_outcome_ends_after_its_last_iteration(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("outcome_with_rubric", "1", folder=tmp_path, exits_with=1)
    assert "max_iterations_reached after 1 of 1 iterations" in printed
    assert "agent: The figure under Cost is missing." in printed, "one last turn to acknowledge"


def test_a_command_decides_whether_the_outcome_holds(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("outcome_with_verifiers", folder=tmp_path)
    assert "agent: It is done; I am sure that it works.\nverified (0): needs_revision." in printed
    assert "exit code 1\n0 is not refused\n" in printed, "with what the command said"
    assert lines(printed)[-1] == "needs_revision -> satisfied"


def test_a_prompt_is_versioned_and_rolled_back(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("prompt_versions", folder=tmp_path)
    assert "is at version 2, not 1" in printed
    assert re.findall(r"^version .*", printed, re.MULTILINE) == [
        "version 3: Arr, rye we have!",
        "version 1: We do; a loaf is four euros.",
        "version 4: We do; a loaf is four euros.",
    ]
    assert "unchanged 4" in printed
    assert re.findall(r"^  (\d)  .*(pirate|polite)", printed, re.MULTILINE) == [
        ("4", "polite"),
        ("3", "pirate"),
        ("2", "pirate"),
        ("1", "polite"),
    ]


def test_a_session_stops_at_its_cap_and_goes_on_when_it_is_raised(
    server: ExampleServer, tmp_path: Path
) -> None:
    printed = server.run("cap_spend", folder=tmp_path)
    spent = [int(cents) for cents in re.findall(r"spent (\d+) of", printed)]
    assert 0 < spent[0] <= 10 < spent[1] <= 100
    assert "stopped at the cap\nrefused (budget_not_raised)\nthe cap is now 100 cents\n" in printed
    chapters = re.findall(r"Chapter (\d)\.", printed)
    assert chapters == ["1", "2", "3", "4", "5"], "nothing is repeated"
    assert lines(printed)[-1] == "done (end_turn)"


def test_an_answer_is_watched_as_it_is_written(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("watch_deltas", folder=tmp_path)
    assert lines(printed)[0].endswith("So blue comes from all sides.")
    found = re.search(r"\((\d+) deltas; the preview was complete\)", printed)
    assert found is not None, printed
    assert int(found[1]) > 1


def test_an_interrupted_session_does_what_it_is_told_instead(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("interrupt_and_redirect", folder=tmp_path)
    # The interrupt may come before the command has begun.
    assert re.search(r"error: Interrupted by a person (while it ran|before it)", printed)
    assert printed.index("(redirected)") < printed.index("agent: I looked once.")


@pytest.mark.long
@pytest.mark.requirement("events send first")
def test_programs_that_send_first_get_every_answer(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("send_first", str(TIMES), folder=tmp_path)
    assert f"{TIMES} of {TIMES} complete" in printed


def test_sessions_run_beside_each_other(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("fan_out", folder=tmp_path)
    assert sorted(lines(printed)[:4]) == [
        "DuckDB: When it only reports.",
        "PostgreSQL: When it grows.",
        "Redis: When it may forget.",
        "SQLite: When one machine is enough.",
    ]
    assert lines(printed)[4:] == ["SQLite: the shop is small."]


def test_a_function_of_the_program_is_the_agents_tool(server: ExampleServer, tmp_path: Path) -> None:
    printed = server.run("tool_runner", folder=tmp_path)
    assert "stock_of({'article': 'nut M8'}) -> 4" in printed
    assert "stock_of({'article': 'washer'}) -> There is no article 'washer'" in printed
    assert "stock_of({'article': 'washer M8'}) -> 0" in printed
    assert lines(printed)[-1] == "No: 46 nuts and 50 washers are missing."


def test_models_are_called_without_any_agent(server: ExampleServer, tmp_path: Path) -> None:
    assert lines(server.run("gateway", folder=tmp_path)) == [
        "counted: True",
        "created: Red, yellow, blue.",
        "usage: True True",
        "streamed: Orange, green, violet. (end_turn)",
        "tool: {'amount': 250, 'rate': 0.94}",
        "answer: 235 francs.",
        "refused: not_found_error",
    ]


@pytest.mark.long
def test_a_chat_goes_on_over_a_kill_of_the_server_and_a_restart_of_the_program(tmp_path: Path) -> None:
    with ExampleServer(tmp_path / "server") as server:
        chat = Conversation(server.start("long_lived_chat", folder=tmp_path))
        chat.type("My name is Ada.")
        chat.read_until("it: Good to meet you, Ada.")
        chat.type("Tell me a long story.")
        chat.read_until("you: Tell me a long story.")
        server.kill_and_start_again()
        chat.read_until("it: Once upon a time")
        printed = chat.end()
        later = server.run("long_lived_chat", folder=tmp_path, typed="And who am I?\n")
    assert "(connection lost" in printed
    assert printed.count("long story") == printed.count("Once upon a time") == 1
    assert [line.removeprefix("> ") for line in lines(later) if line != "> "] == [
        "you: My name is Ada.",
        "it: Good to meet you, Ada.",
        "you: Tell me a long story.",
        "it: Once upon a time there was a log that nobody could lose.",
        "you: And who am I?",
        "it: You are Ada.",
    ]


def test_every_example_is_run_and_documented() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    page = (ROOT / "docs" / "examples.md").read_text()
    assert names
    assert set(re.findall(r"^\| \[`(\w+)\.py`\]", page, re.MULTILINE)) == names
    assert {path.stem for path in SCRIPTS.glob("*.json")} == names
    assert set(re.findall(r'(?:run|start)\("(\w+)"', Path(__file__).read_text())) == names
