"""2: `make test` is the door to the tests, continuous integration goes through it, and the README opens with it."""

from __future__ import annotations

import re
import sys

from place import ROOT, check, run, steps


def make_test_sets_up_and_runs_tests() -> str:
    said = run(["make", "--no-print-directory", "test", "PYTEST_ARGS=-q tests/unit"], seconds_max=400).out
    closing = said.strip().splitlines()[-1]
    check(re.search(r"\d+ passed", closing) is not None, f"the last line is not pytest's own: {closing!r}")
    return closing


def continuous_integration_calls_make_test() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    last = script.strip().splitlines()[-1]
    check(
        re.search(r"\bmake\b.*\btest\b", last) is not None, f".ci/run does not end with `make test`: {last!r}"
    )


def the_readme_opens_with_the_doors() -> None:
    text = (ROOT / "README.md").read_text()
    places = [text.find(words) for words in ("make demo", "make test", "remit do")]
    check(min(places) >= 0, f"README.md lacks a door: {places}")
    check(places == sorted(places), "README.md does not open with make demo, then make test, then remit do")
    check(text[: places[0]].count("\n") < 15, "README.md does not open with the doors")


def every_link_of_the_readme_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", (ROOT / "README.md").read_text()):
        check((ROOT / link).exists(), f"README.md links to {link!r}, which is not there")


if __name__ == "__main__":
    sys.exit(
        steps(
            make_test_sets_up_and_runs_tests,
            continuous_integration_calls_make_test,
            the_readme_opens_with_the_doors,
            every_link_of_the_readme_leads_somewhere,
        )
    )
