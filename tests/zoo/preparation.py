"""What a machine needs for the whole zoo: compilers and runners from Debian, in `/usr`, where sandboxes see them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from zoo.project import Project

PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
"""Where a sandbox finds its programs: in the machine's own `/usr`."""
PACKAGES = {
    "make": "make",
    "gcc": "gcc",
    "g++": "g++",
    "node": "nodejs",
    "npm": "npm",
    "go": "golang-go",
    "cargo": "cargo",
    "perl": "perl",
    "prove": "perl",
}
INSTALL_SECONDS = 900.0


def lacking(project: Project) -> list[str]:
    """Return the programs of a project that the image would not have."""
    return [each for each in project.needs if shutil.which(each, path=PROGRAMS) is None]


def prepare(projects: Sequence[Project]) -> str:
    """Install what is missing, as root alone; return what was done or why not, in words."""
    packages = sorted({PACKAGES[program] for project in projects for program in lacking(project)})
    if not packages:
        return "every program is there"
    if os.geteuid() != 0:
        return f"not root, so these stay missing and their projects are skipped: {', '.join(packages)}"
    for argv in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        ended = subprocess.run(
            ["apt-get", "-qq", *argv], capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if ended.returncode:
            return f"apt-get {argv[0]} failed: {ended.stderr.strip()[-300:]}"
    return f"installed {', '.join(packages)}"
