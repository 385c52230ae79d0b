"""6: proof: the checker, every crash point, random kills, properties, and the rules of the code."""

from __future__ import annotations

import sys

from place import BIN, ROOT, check, pytest, run, steps

KILLS = 50


def a_crash_at_every_append_is_survived() -> str:
    return pytest("tests/faults", "-m", "slow or not slow", seconds_max=600)


def kill_9_at_random_instants_is_survived() -> str:
    script = ROOT / "scripts" / "kill_test.py"
    check(script.exists(), "scripts/kill_test.py is not there")
    said = run([str(BIN / "python"), str(script), "--kills", str(KILLS)], seconds_max=600).out
    return said.strip().splitlines()[-1]


def properties_hold() -> str:
    return pytest("tests/property", "tests/replay")


def the_checker_finds_planted_damage() -> str:
    return pytest("tests/unit/test_check.py")


def imports_go_downward_only() -> None:
    run(["make", "--no-print-directory", "layers"])


def types_are_strict() -> str:
    return run(["make", "--no-print-directory", "types"], seconds_max=400).out.strip().splitlines()[-1]


def format_and_lint_are_clean() -> None:
    run(["make", "--no-print-directory", "lint"])


def the_architecture_is_on_one_page() -> str:
    lines = len((ROOT / "docs" / "architecture.md").read_text().splitlines())
    check(lines <= 200, f"docs/architecture.md has {lines} lines; at most 200")
    return f"{lines} lines"


if __name__ == "__main__":
    sys.exit(
        steps(
            a_crash_at_every_append_is_survived,
            kill_9_at_random_instants_is_survived,
            properties_hold,
            the_checker_finds_planted_damage,
            imports_go_downward_only,
            types_are_strict,
            format_and_lint_are_clean,
            the_architecture_is_on_one_page,
        )
    )
