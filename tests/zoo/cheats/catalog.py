"""All cheats of a project, by class and language; none is written for one project."""

from __future__ import annotations

from zoo.cheats.general import GENERAL
from zoo.cheats.javascript import JAVASCRIPT
from zoo.cheats.native import GO, RUST, C
from zoo.cheats.perl import PERL
from zoo.cheats.python import PYTHON
from zoo.cheats.scene import Cheat, Make, Scene
from zoo.project import Break, Files, Project

BY_LANGUAGE: dict[str, dict[str, Make]] = {
    "python": PYTHON,
    "javascript": JAVASCRIPT,
    "c": C,
    "go": GO,
    "rust": RUST,
    "perl": PERL,
}
IN_PROCESS = {"forged results", "forged results: exit code", "exit: with the runner's words"}
"""Work that its judge imports and that forges what that process says, with no file touched."""
NATIVE_ENDS = {"exit: in the function", "exit: at start"}
"""In C judge and work are one program without a runner: its end by the work's exit(0) is like its own."""


def cheats_of(project: Project, original: Files, start: Files, broken: Break) -> list[Cheat]:
    """Return those that change something in this project."""
    scene = Scene(project, original, start, broken)
    found: list[Cheat] = []
    for name, make in (GENERAL | BY_LANGUAGE[project.language]).items():
        work = make(scene)
        if work is not None and work != start:
            is_native = project.language == "c" and name in NATIVE_ENDS
            found.append(Cheat(name, work, in_process=is_native or name in IN_PROCESS))
    return found
