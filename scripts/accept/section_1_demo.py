"""1: `make demo` shows what is real without a big model, in under a minute."""

from __future__ import annotations

import sys
import time

from place import check, run, steps

SECONDS_MAX = 60
IN_THIS_ORDER = (
    "scripted",
    "sandbox",
    "revision",
    "kill -9",
    "restored",
    "not made",
    "tampered",
    "verified",
    "receipt",
)


def the_demo_runs_in_under_a_minute_and_shows_everything_in_order() -> str:
    began = time.monotonic()
    said = run(["make", "--no-print-directory", "demo"], seconds_max=3 * SECONDS_MAX).out.lower()
    seconds = time.monotonic() - began
    check(
        "scripted" in said.strip().splitlines()[0], "the first line does not say that the model is scripted"
    )
    position = 0
    for word in IN_THIS_ORDER:
        found = said.find(word, position)
        check(found >= 0, f"{word!r} is not said, or not after what comes before it:\n{said}")
        position = found
    check("traceback" not in said, f"a traceback was shown:\n{said}")
    check(seconds < SECONDS_MAX, f"it took {seconds:.0f} s; at most {SECONDS_MAX}")
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(steps(the_demo_runs_in_under_a_minute_and_shows_everything_in_order))
