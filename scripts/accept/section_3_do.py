"""3: `remit do` from an outcome and a budget to a verified result and a receipt, and the commands around it."""

from __future__ import annotations

import hashlib
import json
import re
import select
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from place import Folder, Json, Ran, check, run, steps

ENDED_KEYS = {"type", "id", "status", "completed", "verified", "vacuous", "tampered", "spent", "session_ids"}
FIX = (
    "sed -i 's/return amount - discount/return round(amount * (1 - discount) + 1e-9, 2)/' prices.py"
    " && echo new > added.txt"
)
PASSES = '{"criteria": [{"criterion": "totals are right", "met": true, "explanation": "seen"}], "explanation": "good", "verdict": "pass"}'
FAILS = PASSES.replace("true", "false").replace('"verdict": "pass"', '"verdict": "fail"')
WORK: list[Json] = [
    {"text": "I mend it.", "tool_uses": [{"name": "bash", "input": {"command": FIX}}]},
    {"text": "Done."},
]
SCRIPTS: dict[str, Json] = {
    "quick": {"steps": WORK},
    "graded": {
        "steps": WORK,
        "rules": [{"when": {"system_contains": "You are a grader"}, "steps": [{"text": PASSES}]}],
    },
    "frowned": {
        "steps": WORK,
        "rules": [{"when": {"system_contains": "You are a grader"}, "steps": [{"text": FAILS}]}],
    },
    "slow": {
        "steps": [
            {"text": "First a long look.", "tool_uses": [{"name": "bash", "input": {"command": "sleep 60"}}]},
            {"text": "I go on.", "tool_uses": [{"name": "bash", "input": {"command": FIX}}]},
            {"text": "Done."},
        ],
        # After an interrupt the script counts from the message that told it to go on.
        "default": {"text": "Done."},
    },
    "lazy": {"steps": [], "default": {"text": "Looks fine to me."}},
}
PRICES = "".join(
    f'\n[prices."scripted/{name}"]\ninput_per_million_usd = 3.0\noutput_per_million_usd = 15.0\n'
    for name in SCRIPTS
)
place = Folder(SCRIPTS, PRICES)
made: dict[str, Json] = {}
ids: dict[str, str] = {}


def remit_id(ran: Ran) -> str:
    """Which remit a `remit do --json` was about."""
    return str(ran.lines[-1].get("remit_id") or ran.lines[-1]["id"])


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def a_git_folder_ends_verified_as_files_patch_and_bundle() -> str:
    place.git()
    before = hashes(place.project)
    out = place.path / "out"
    ran = place.do("scripted/quick", "--out", str(out)).expect(0)
    ended = ran.lines[-1]
    made["quick"] = ended
    ids["quick"] = remit_id(ran)
    check(hashes(place.project) == before, "the user's folder was touched")
    missing = ENDED_KEYS - set(ended)
    check(not missing, f"remit.ended lacks {sorted(missing)}")
    check(ended["type"] == "remit.ended" and ended["status"] == "satisfied", f"it ended as {ended}")
    check(ended["completed"] is True and ended["verified"] is True, f"it ended as {ended}")
    check(ended["vacuous"] == [] and ended["tampered"] == [], f"it ended as {ended}")
    check(Decimal(0) < Decimal(ended["spent"]["usd"]) <= 2, f"spent {ended['spent']}")
    check(isinstance(ended["spent"]["tokens"], int) and ended["spent"]["tokens"] > 0, f"{ended['spent']}")
    check(len(ended["session_ids"]) == 1, f"{ended['session_ids']}")
    check("round(" in (out / "files" / "prices.py").read_text(), "the changed file is not in --out")
    check((out / "files" / "added.txt").read_text() == "new\n", "the added file is not in --out")
    names = {path.name for path in out.iterdir()}
    check({"files", "result.patch", "result.bundle", "receipt.json"} <= names, f"--out holds {sorted(names)}")
    clone = place.path / "clone"
    run(["git", "clone", "-q", str(place.project), str(clone)])
    run(["git", "fetch", "-q", str(out / "result.bundle"), f"refs/heads/remit/{ids['quick']}"], where=clone)
    run(["git", "apply", "--check", str(out / "result.patch")], where=clone)
    shown = run(["git", "show", "FETCH_HEAD:prices.py"], where=clone).out
    check("round(" in shown, "the bundle's branch does not have the fix")
    types = [line["type"] for line in ran.lines]
    check(types[0] == "remit.created" and "remit.forecast" in types, f"the events were {types}")
    return ended["spent"]["usd"]


def json_lines_are_the_remits_stream() -> None:
    id = ids["quick"]
    again = place.remit("watch", id, "--json").expect(0).lines
    check(again[-1] == made["quick"], "watch --json does not end with the same remit.ended")


def apply_lands_the_result_once() -> None:
    id = ids["quick"]
    place.remit("apply", id).expect(0, "Applied")
    check("round(" in (place.project / "prices.py").read_text(), "apply did not change the folder")
    place.remit("apply", id).expect(0, "Already applied")


def apply_refuses_a_folder_that_moved_on() -> None:
    try:
        (place.project / "prices.py").write_text("def total(items, discount=0):\n    return 42\n")
        before = hashes(place.project)
        place.remit("apply", ids["quick"]).expect(1, "prices.py")
        check(hashes(place.project) == before, "the refused apply changed the folder")
    finally:
        run(["git", "checkout", "-q", "--", "."], where=place.project)
        run(["git", "clean", "-qfd"], where=place.project)


def plain_lines_where_there_is_no_terminal() -> None:
    words = [
        word
        for word in place.do_words("scripted/cheat", "--out", str(place.path / "cheat"))
        if word != "--json"
    ]
    ran = place.remit(*words).expect(
        1, "forecast", "pytest -q", "$2", "completed   yes", "verified    no", "tampered"
    )
    check("tests/test_prices.py" in ran.out, f"the tampered file is not named: {ran.out}")
    check("\x1b[" not in ran.out, "escape sequences without a terminal")
    check(re.search(r"spent +\$", ran.out) is not None, f"what was spent is not said: {ran.out}")


def a_revision_goes_back_with_the_verifiers_output() -> str:
    ended = (
        place.do("scripted/lazy", "--max-iterations", "2", "--out", str(place.path / "lazy")).expect(1).lines
    )
    rounds = [line for line in ended if line["type"] == "remit.iteration_ended"]
    check(len(rounds) == 2, f"{len(rounds)} iterations; --max-iterations was 2")
    check("assert" in rounds[0]["verdicts"][0]["output"], "the verifier's output is not in its verdict")
    check(ended[-1]["status"] == "unsatisfied", f"it ended as {ended[-1]}")
    return f"{len(rounds)} iterations"


def a_green_verifier_is_vacuous_and_proves_nothing() -> None:
    words = ["do", "keep it so", "--input", str(place.project), "--verify", "true", "--budget", "1"]
    ran = place.remit(*words, "--model", "scripted/lazy", "--yes", "--despite", "vacuous", "--json").expect(1)
    check(ran.lines[-1]["vacuous"] == ["true"] and not ran.lines[-1]["verified"], f"{ran.lines[-1]}")


def protect_and_unprotect_reach_the_verifier() -> None:
    created = place.do(
        "scripted/cheat", "--protect", "prices.py", "--unprotect", "tests/*", "--max-iterations", "1"
    )
    forecast = next(line for line in created.lines if line["type"] == "remit.forecast")
    protected = {one["path"] for one in forecast["protected"]}
    check("prices.py" in protected and "tests/test_prices.py" not in protected, f"protected: {protected}")
    check(created.lines[-1]["tampered"] == [], f"released, but tampered: {created.lines[-1]}")


def a_rubric_is_graded_by_a_model_of_its_own_context() -> str:
    rubric = place.path / "rubric.md"
    rubric.write_text("Totals are right to the cent.\n")
    words = [
        "do",
        "right totals",
        "--input",
        str(place.project),
        "--rubric",
        str(rubric),
        "--budget",
        "2",
        "--yes",
    ]
    ran = place.remit(*words, "--model", "scripted/graded", "--json").expect(0)
    good = ran.lines[-1]
    check(good["verified"] is True, f"{good}")
    bad = (
        place.remit(*words, "--model", "scripted/frowned", "--json", "--max-iterations", "1")
        .expect(1)
        .lines[-1]
    )
    check(bad["verified"] is False and bad["status"] == "unsatisfied", f"{bad}")
    receipt = json.loads(place.remit("receipt", remit_id(ran), "--json").expect(0).out)
    purposes = {call["purpose"] for call in receipt["calls"]}
    check("verification" in purposes, f"the grader's call is not in the receipt: {purposes}")
    return good["spent"]["usd"]


def ctrl_c_interrupts_keeps_everything_and_can_be_resumed() -> str:
    process = place.start(*place.do_words("scripted/slow", "--out", str(place.path / "slow")))
    assert process.stdout is not None
    lines: list[Json] = []
    deadline = time.monotonic() + 60
    while not any(line["type"] == "remit.working" for line in lines):
        check(time.monotonic() < deadline, f"it never worked: {[line['type'] for line in lines]}")
        ready, _, _ = select.select([process.stdout], [], [], 5)
        if ready:
            lines.append(json.loads(process.stdout.readline()))
    time.sleep(3)  # into the tool
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    lines += [json.loads(line) for line in out.splitlines()]
    check(process.returncode == 130, f"exit code {process.returncode}; 130 is promised: {err}")
    check("Traceback" not in err, err)
    check(lines[-1]["type"] == "remit.interrupted", f"the last line is {lines[-1]}")
    id = str(lines[0].get("remit_id") or json.loads(place.remit("ls", "--json", "--limit", "1").out)["id"])
    shown = json.loads(place.remit("show", id, "--json").expect(0).out)
    check(shown["status"] == "interrupted", f"it is {shown['status']}")
    resumed = place.remit("do", "--resume", id, "--yes", "--json", "--out", str(place.path / "slow")).expect(
        0
    )
    check(resumed.lines[-1]["verified"] is True, f"{resumed.lines[-1]}")
    return id


def without_a_model_the_ways_to_get_one_are_named() -> None:
    words = ["do", "x", "--input", str(place.project), "--verify", "pytest -q", "--budget", "1", "--yes"]
    place.remit(*words).expect(2, "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "REMIT_OPENAI_BASE_URL")


def a_free_model_refuses_a_dollar_budget_and_names_the_flag() -> None:
    (place.scripts / "free.json").write_text('{"default": {"text": "Nothing."}}')
    place.do("scripted/free").expect(2, "--budget 50000tokens")
    ran = place.do("scripted/free", "--max-iterations", "1", budget="50000tokens").expect(1)
    check(ran.lines[-1]["spent"]["tokens"] > 0, f"{ran.lines[-1]}")


def a_call_that_does_not_fit_is_not_made() -> str:
    ended = place.do("scripted/dear", budget="0.05").expect(1).lines[-1]
    check(ended["status"] == "budget_reached", f"it ended as {ended}")
    check(Decimal(ended["spent"]["usd"]) <= Decimal("0.05"), f"spent {ended['spent']}")
    return ended["spent"]["usd"]


def what_is_mistyped_ends_with_2_and_the_mend() -> None:
    cases = (
        (["do"], "outcome"),
        (["do", "x", "--verify", "true"], "budget"),
        (["do", "x", "--verify", "true", "--budget", "lots"], "neither dollars nor tokens"),
        (["do", "x", "--budget", "1"], "--verify"),
        (["do", "x", "--verify", "true", "--budget", "1", "--input", "/no/such/folder"], "/no/such/folder"),
        (["do", "x", "--verify", "true", "--budget", "1", "--toolchain", "/no/such"], "/no/such"),
        (["do", "x", "--verify", "true", "--budget", "1", "--max-iterations", "99"], "max-iterations"),
        (["do", "x", "--verify", "true", "--budget", "1", "--agent", "nobody"], "nobody"),
        (["show", "remit_nothing"], "remit ls"),
        (["do", "--resume", "nothing"], "remit ls"),
        (["juggle"], "juggle"),
        (["check"], "--all"),
    )
    for words, text in cases:
        place.remit(*words).expect(2, text)
    words = [
        "do",
        "x",
        "--verify",
        "no-such-program -q",
        "--budget",
        "1",
        "--model",
        "scripted/quick",
        "--yes",
    ]
    place.remit(*words).expect(2, "no-such-program")


def a_costly_forecast_without_yes_is_not_begun() -> None:
    words = [word for word in place.do_words("scripted/quick") if word != "--yes"]
    place.remit(*words).expect(2, "--yes", "Nothing was spent")


def looking_commands_answer() -> None:
    id = ids["quick"]
    place.remit("ls").expect(0, id, "satisfied")
    place.remit("show", id).expect(0, "satisfied", "pytest -q")
    place.remit("watch", id).expect(0, "verified    yes")
    place.remit("receipt", id).expect(0, "scripted/quick")
    page = place.path / "receipt.html"
    place.remit("receipt", id, "--html", str(page)).expect(0, "receipt.html")
    text = page.read_text()
    check(
        "<script" not in text and "http://" not in text and "https://" not in text, "it is not self-contained"
    )
    check(id in text and "pytest -q" in text, "the page lacks the remit or its verifier")
    place.remit("verify", id).expect(0, "pytest -q", "verified    yes")
    place.remit("check", id).expect(0, "all is well")
    place.remit("doctor").expect(1, "models", "ANTHROPIC_API_KEY")


def receipt_adds_up() -> str:
    receipt = json.loads(place.remit("receipt", ids["quick"], "--json").expect(0).out)
    settled = sum(call["settled"]["nano_usd"] for call in receipt["calls"])
    spent = int(Decimal(receipt["spent"]["usd"]) * 10**9)
    check(settled == spent, f"calls settle at {settled} nano-dollars, spent says {spent}")
    check(
        all(call["held"]["nano_usd"] >= call["settled"]["nano_usd"] for call in receipt["calls"]),
        "held < settled",
    )
    check(
        receipt["tools"] and receipt["verifications"] and receipt["image_digest"],
        "tools, evidence or image missing",
    )
    return f"{len(receipt['calls'])} calls, {spent} nano-dollars"


def every_remit_holds_what_must_always_hold() -> str:
    ran = place.remit("check", "--all").expect(0, "all is well")
    return ran.out.strip().splitlines()[-1]


if __name__ == "__main__":
    assert subprocess.run(["git", "--version"], capture_output=True).returncode == 0
    sys.exit(
        steps(
            a_git_folder_ends_verified_as_files_patch_and_bundle,
            json_lines_are_the_remits_stream,
            apply_lands_the_result_once,
            apply_refuses_a_folder_that_moved_on,
            plain_lines_where_there_is_no_terminal,
            a_revision_goes_back_with_the_verifiers_output,
            a_green_verifier_is_vacuous_and_proves_nothing,
            protect_and_unprotect_reach_the_verifier,
            a_rubric_is_graded_by_a_model_of_its_own_context,
            ctrl_c_interrupts_keeps_everything_and_can_be_resumed,
            without_a_model_the_ways_to_get_one_are_named,
            a_free_model_refuses_a_dollar_budget_and_names_the_flag,
            a_call_that_does_not_fit_is_not_made,
            what_is_mistyped_ends_with_2_and_the_mend,
            a_costly_forecast_without_yes_is_not_begun,
            looking_commands_answer,
            receipt_adds_up,
            every_remit_holds_what_must_always_hold,
        )
    )
