"""What the work leaves does not count as done for make. With the real GNU make, in folders of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from remit.values import Tree, TreeEntry
from remit.verifiers.judged import judge_tree
from remit.verifiers.make_ground import makefile_of
from remit.verifiers.patterns import ProtectedPatterns
from remit.verifiers.protected import protection_of

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs GNU make")
OLD = 1_700_000_000
NEW = OLD + 1_000


def tree_of(files: dict[str, str], at: int = OLD) -> Tree:
    """Entries of path=content; a path that ends in a slash is an empty folder."""
    entries = [
        TreeEntry(path=path.rstrip("/"), kind="dir", mode=0o755)
        if path.endswith("/")
        else TreeEntry(
            path=path,
            kind="file",
            mode=0o755,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            mtime_ns=at * 10**9,
        )
        for path, text in files.items()
    ]
    return Tree(entries=tuple(sorted(entries, key=lambda entry: entry.path)))


def run(
    folder: Path, given: dict[str, str], left: dict[str, str], command: str
) -> tuple[int, str, str | None]:
    """(exit code, output, our makefile) of a command on the work as a verification would see it."""
    before = tree_of(given)
    after = tree_of({**given, **left}, NEW)
    protection = protection_of(before, command, read=given.get)
    judged = judge_tree(before, after, protection, ProtectedPatterns(globs=protection.globs))
    contents = {hashlib.sha256(text.encode()).hexdigest(): text for text in (*given.values(), *left.values())}
    for entry in judged.tree.entries:
        path = folder / entry.path
        if entry.kind == "dir":
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents[entry.sha256 or ""])
        path.chmod(0o755)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    ours = makefile_of(before, judged.tree, given.get, root=str(folder))
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    if ours is not None:
        (folder.parent / "ours.mk").write_text(ours)
        environment["MAKEFILES"] = str(folder.parent / "ours.mk")
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr, ours


FAILS = "\n\t@echo judged; false\n"
CHEATS: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "a file": ({"Makefile": f"test:{FAILS}"}, {"test": ""}, "make test"),
    "a folder": ({"Makefile": f"check:{FAILS}"}, {"check/": ""}, "make check"),
    "a folder with files": ({"Makefile": f"check:{FAILS}"}, {"check/a": ""}, "make check"),
    "the default goal": ({"Makefile": f"all:{FAILS}"}, {"all": ""}, "make"),
    "a prerequisite": ({"Makefile": f".PHONY: all\nall: lint\nlint:{FAILS}"}, {"lint": ""}, "make"),
    "several targets in a line": ({"Makefile": f"a b c:{FAILS}"}, {"b": ""}, "make b"),
    "a recipe on the rule's line": ({"Makefile": "test: ; @echo judged; false\n"}, {"test": ""}, "make test"),
    "a double colon": ({"Makefile": f"x:\ntest:: x{FAILS}"}, {"test": "", "x": ""}, "make test"),
    "a target by variable": ({"Makefile": f"T = test\n$(T):{FAILS}"}, {"test": ""}, "make test"),
    "a target that a shell names": (
        {"Makefile": f"T := $(shell echo test)\n$(T):{FAILS}"},
        {"test": ""},
        "make test",
    ),
    "a rule that is evaluated": (
        {
            "Makefile": "define R\n$(1):\n\t@echo judged; false\nendef\n$(foreach t,test lint,$(eval $(call R,$(t))))\n"
        },
        {"test": "", "lint/a": ""},
        "make -k test lint",
    ),
    "a static pattern by substitution": (
        {"Makefile": f"X = a b\nrun: $(X:%=run-%)\n$(X:%=run-%): run-%:{FAILS}"},
        {"run-a": "", "run-b": "", "run": ""},
        "make run",
    ),
    "stamps in a computed folder": (
        {"Makefile": f"B := $(shell echo out)\ntest: $(B)/.ok\n$(B)/.ok:{FAILS}"},
        {"out/.ok": ""},
        "make test",
    ),
    "a folder below": ({"sub/Makefile": f"test:{FAILS}"}, {"sub/test": ""}, "make -C sub test"),
    "cd": ({"sub/Makefile": f"test:{FAILS}"}, {"sub/test": ""}, "cd sub && make test"),
    "a sub-make": (
        {"Makefile": ".PHONY: t\nt:\n\t$(MAKE) -C sub test\n", "sub/Makefile": f"test:{FAILS}"},
        {"sub/test": ""},
        "make t",
    ),
    "a makefile by option": ({"ci/x.mk": f"test:{FAILS}"}, {"test": ""}, "make -f ci/x.mk test"),
    "an included one": ({"Makefile": "include a.mk\n", "a.mk": f"test:{FAILS}"}, {"test": ""}, "make test"),
    "a common one": (
        {"c.mk": f"test:{FAILS}", "s/Makefile": "include ../c.mk\n"},
        {"s/test": ""},
        "make -C s test",
    ),
    "Makefile.sh": (
        {"Makefile": f".PHONY: test\ntest:{FAILS}"},
        {
            "Makefile.sh": "test:\n\t@cp Makefile.old Makefile\n",
            "Makefile.old": f".PHONY: test\ntest:{FAILS}",
        },
        "make test",
    ),
    "Makefile.c": (
        {"Makefile": f"test:{FAILS}"},
        {"Makefile.c": "int main(){return 0;}", "test": ""},
        "make test",
    ),
    "RCS": ({"Makefile": f"test:{FAILS}"}, {"RCS/Makefile,v": "", "Makefile,v": "", "test": ""}, "make test"),
    "SCCS": (
        {"Makefile": f"test:{FAILS}"},
        {"SCCS/s.Makefile": "", "s.Makefile": "", "test": ""},
        "make test",
    ),
    "a script from .sh": (
        {"Makefile": ".PHONY: test\ntest: judge\n\t./judge\n", "judge": "#!/bin/sh\necho judged; false\n"},
        {"judge.sh": "true\n"},
        "make test",
    ),
    "GNUmakefile": ({"Makefile": f"test:{FAILS}"}, {"GNUmakefile": "test:\n\ttrue\n"}, "make test"),
    "makefile": ({"Makefile": f"test:{FAILS}"}, {"makefile": "test:\n\ttrue\n"}, "make test"),
    "a stamp": ({"Makefile": f".ok: a.c{FAILS}test: .ok\n", "a.c": ""}, {".ok": ""}, "make test"),
    "a stamp of a pattern": (
        {"Makefile": f"test: a.ok\n%.ok: %.c{FAILS}", "a.c": ""},
        {"a.ok": ""},
        "make test",
    ),
    "a stamp and its new source": (
        {"Makefile": f"test: $(patsubst %.c,%.ok,$(wildcard *.c))\n%.ok: %.c{FAILS}", "x": ""},
        {"a.c": "", "a.ok": ""},
        "make test",
    ),
    "a stamp that needs nothing": ({"Makefile": f"test: a.ok\n%.ok:{FAILS}"}, {"a.ok": ""}, "make test"),
    "a stamp that was there": (
        {"Makefile": f"test: a.ok\n%.ok: %.c{FAILS}", "a.c": "int a;", "a.ok": "old"},
        {"a.c": "int b;", "a.ok": "new"},
        "make test",
    ),
    "a searched folder": (
        {"Makefile": f"VPATH = src\ntest:{FAILS}", "src/a": ""},
        {"src/test": ""},
        "make test",
    ),
    "an included file that was not there": (
        {
            "Makefile": "-include local.d\n-include .env\n.PHONY: test\nJ = false\ntest:\n\t@echo judged; $(J)\n"
        },
        {"local.d": "override J = true\n", ".env": "override J = true\n"},
        "make test",
    ),
    "included files by variable": (
        {
            "Makefile": "O = a.o\nD := $(O:.o=.d)\n-include $(D)\n.PHONY: test\ntest:\n\t@echo judged; $(J)\nJ = false\n"
        },
        {"a.d": "override J = true\n"},
        "make test",
    ),
    "a file that the work makes while it runs": (
        {"Makefile": f"all: run check\nrun:\n\t./work.sh\ncheck:{FAILS}", "work.sh": "#!/bin/sh\n"},
        {"work.sh": "#!/bin/sh\ntouch check\n"},
        "make",
    ),
    "a goal that the work makes while another runs": (
        {"Makefile": f"run:\n\t./work.sh\ntest: run.sh{FAILS}", "work.sh": "#!/bin/sh\n", "run.sh": ""},
        {"work.sh": "#!/bin/sh\ntouch test\n"},
        "make run test",
    ),
    "a name with odd characters": ({"Makefile": f"t~1+x,y:{FAILS}"}, {"t~1+x,y": ""}, "make t~1+x,y"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_what_the_work_left_does_not_count_as_done(name: str, tmp_path: Path) -> None:
    given, left, command = CHEATS[name]
    folder = tmp_path / "tree"
    folder.mkdir()
    code, output, ours = run(folder, given, left, command)
    assert code != 0, (output, ours)
    assert "judged" in output, (output, ours)


CC = '#!/bin/sh\nfor last; do :; done\ncat "$last" > "$2"\n'
HONEST: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "outputs that the agent's make left": (
        {
            "Makefile": "all: out/x\nout:\n\tmkdir out\nout/x: x.in | out\n\tcp $< $@\ntest: all\n\tgrep -q new out/x\n",
            "x.in": "old",
        },
        {"x.in": "new", "out/x": "stale"},
        "make test",
    ),
    "what a computed rule made": (
        {
            "Makefile": "B := $(shell echo out)\ntest: $(B)/p\n\tgrep -q new $<\n$(B)/p: $(B)/a.o\n\tcat $^ > $@\n$(B)/%.o: %.in | $(B)\n\tcp $< $@\n$(B):\n\tmkdir $@\n",
            "a.in": "old",
        },
        {"a.in": "new", "out/a.o": "stale", "out/p": "stale", "notes.txt": "", "data/x.csv": ""},
        "make test",
    ),
    "a program by a built-in rule beside an evaluated one": (
        {
            "Makefile": "CC = ./cc\ntest: p\n\tgrep -q new p\n$(eval X = 1)\n%: %.c\n\tcp $< $@\n",
            "p.c": "old",
        },
        {"p.c": "new", "p": "stale"},
        "make test",
    ),
    "objects by a pattern": (
        {"Makefile": "test: p\n\tgrep -q new p\np: a.o\n\tcat $^ > $@\n%.o: %.c\n\tcp $< $@\n", "a.c": "old"},
        {"a.c": "new", "a.o": "stale", "p": "stale"},
        "make test",
    ),
    "a static pattern": (
        {
            "Makefile": "O = a.o\ntest: p\n\tgrep -q new p\np: $(O)\n\tcat $^ > $@\n$(O): %.o: %.c\n\tcp $*.c $@\n",
            "a.c": "old",
        },
        {"a.c": "new", "a.o": "stale", "p": "stale"},
        "make test",
    ),
    "phony already": ({"Makefile": ".PHONY: test\ntest:\n\ttrue\n"}, {"test": ""}, "make test"),
    "the first makefile that was read": (
        {"Makefile": "M := $(firstword $(MAKEFILE_LIST))\ntest:\n\t@test $(M) = Makefile\n"},
        {"test": ""},
        "make test",
    ),
    "the default goal is the project's": (
        {"Makefile": "first:\n\ttrue\nsecond:\n\tfalse\n"},
        {"second": ""},
        "make",
    ),
    "an included makefile that is made": (
        {
            "Makefile": "include conf.mk\nconf.mk: conf.in\n\tcp $< $@\ntest:\n\t@test $(X) = 1\n",
            "conf.in": "X = 1\n",
        },
        {"conf.mk": "X = 2\n", "test": ""},
        "make test",
    ),
    "dependencies that the compiler wrote": (
        {
            "Makefile": "-include a.d\ntest: a.o\n\tgrep -q new a.o\na.o: a.c\n\tcp $< $@; echo 'a.o: a.c' > a.d\n",
            "a.c": "old",
        },
        {"a.c": "new", "a.o": "stale", "a.d": "a.o: a.c\n"},
        "make test",
    ),
    "sub-makes with outputs": (
        {
            "Makefile": "test:\n\t$(MAKE) -C s x\n\tgrep -q new s/x\n",
            "s/Makefile": "x: y\n\tcp y x\n",
            "s/y": "old",
        },
        {"s/y": "new", "s/x": "stale", "test": ""},
        "make test",
    ),
    "a script that make itself makes": (
        {"Makefile": "test: run\n\t./run\n", "run.sh": "#!/bin/sh\nfalse\n"},
        {"run.sh": "#!/bin/sh\ntrue\n"},
        "make test",
    ),
    "a Makefile that is made": (
        {
            "Makefile": "test:\n\ttrue\nMakefile: Makefile.in\n\tcp $< $@\n",
            "Makefile.in": "test:\n\ttrue\nMakefile: Makefile.in\n\tcp $< $@\n",
        },
        {"test": "", "Makefile.am": ""},
        "make test",
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_is_made_as_ever(name: str, tmp_path: Path) -> None:
    given, left, command = HONEST[name]
    folder = tmp_path / "tree"
    folder.mkdir()
    code, output, ours = run(folder, given, left, command)
    assert code == 0, (output, ours)


def test_nothing_is_said_where_nothing_could_count_as_done() -> None:
    given = {"Makefile": ".PHONY: test\ntest: p\n\t./p\np: a.c\n\tcc -o $@ $<\n", "a.c": ""}
    assert makefile_of(tree_of(given), tree_of({**given, "b.c": ""}), given.get) is None
    assert makefile_of(tree_of({"a.c": ""}), tree_of({"a.c": "", "test": ""}), given.get) is None
