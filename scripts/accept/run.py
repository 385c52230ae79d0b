"""One script for each promise of the first release, in a fresh clone and a bare environment.

    python scripts/accept/run.py [--only N]... [--keep]

Clones HEAD of the repository it stands in to a temporary folder, installs there with `make`, and runs each script as
a process of its own with nothing but PATH and HOME. Prints a line for each: pass, fail, or not run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_RUN = 77
"""A script that ends with this could not be run here; its last line says why."""
REASON_LENGTH_MAX = 200
INSTALL_SECONDS_MAX = 600


@dataclass(frozen=True, kw_only=True)
class Section:
    """One promise and the script that shows it."""

    number: int
    title: str
    script: str
    seconds_max: int


SECTIONS = (
    Section(number=1, title="the demo", script="section_1_demo.py", seconds_max=180),
    Section(number=2, title="the doors", script="section_2_doors.py", seconds_max=420),
    Section(number=3, title="remit do", script="section_3_do.py", seconds_max=420),
    Section(number=4, title="the core", script="section_4_core.py", seconds_max=1_200),
    Section(number=5, title="bad input", script="section_5_bad_input.py", seconds_max=600),
    Section(number=6, title="proof", script="section_6_proof.py", seconds_max=900),
    Section(number=7, title="trust", script="section_7_trust.py", seconds_max=600),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=int, action="append", choices=[one.number for one in SECTIONS])
    parser.add_argument("--keep", action="store_true", help="keep the clone also when all is well")
    options = parser.parse_args()
    wanted = [one for one in SECTIONS if not options.only or one.number in options.only]
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="remit-accept-"))
    # A sandbox's user must be able to reach what it is given of the clone.
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)}
    clone = folder / "remit"
    reason = prepare(clone, folder / "install.log", environment)
    failed = 0
    for section in wanted:
        if reason is not None:
            tell(section, "fail", 0.0, reason)
            failed += 1
            continue
        failed += carry_out(section, clone, folder, environment)
    print(
        f"{len(wanted) - failed} of {len(wanted)} without a failure, {time.monotonic() - began:.0f} s in all"
    )
    if failed or options.keep:
        print(f"logs and the clone: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def prepare(clone: Path, log: Path, environment: dict[str, str]) -> str | None:
    """Clone and install. Gives the reason where that fails."""
    steps = (
        (["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], ROOT, os.environ.copy()),
        (["make", "--no-print-directory", ".venv/.installed"], clone, environment),
    )
    with log.open("wb") as out:
        for command, where, variables in steps:
            try:
                ended = subprocess.run(
                    command, cwd=where, env=variables, stdout=out, stderr=out, timeout=INSTALL_SECONDS_MAX
                )
            except subprocess.TimeoutExpired:
                return f"`{' '.join(command[:2])}` took more than {INSTALL_SECONDS_MAX} s; log: {log}"
            if ended.returncode:
                return f"`{' '.join(command[:2])}` ended with {ended.returncode}; log: {log}"
    return None


def carry_out(section: Section, clone: Path, folder: Path, environment: dict[str, str]) -> int:
    """Run one script and say what became of it. Gives 1 if it failed."""
    log = folder / f"section-{section.number}.log"
    began = time.monotonic()
    command = [str(clone / ".venv/bin/python"), "-u", str(clone / "scripts/accept" / section.script)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=clone, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            code = process.wait(section.seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            tell(section, "fail", time.monotonic() - began, f"more than {section.seconds_max} s; log: {log}")
            return 1
    seconds = time.monotonic() - began
    if code == 0:
        tell(section, "pass", seconds, last_line(log))
        return 0
    if code == NOT_RUN:
        tell(section, "not run", seconds, last_line(log))
        return 0
    tell(section, "fail", seconds, f"{last_line(log)}; log: {log}")
    return 1


def tell(section: Section, what: str, seconds: float, more: str) -> None:
    print(f"{section.number} {section.title:10} {what:8} {seconds:4.0f} s  {more}", flush=True)


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip()[:REASON_LENGTH_MAX] if lines else "it printed nothing"


if __name__ == "__main__":
    sys.exit(main())
