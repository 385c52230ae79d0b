"""A makefile of the judge's own, read before a project's by MAKEFILES: what the work left may not count as done. Pure.

GNU make takes a target for done whose file is there, and makes files (a makefile, too) from others by rules of its own.
Only what the work left and the input had not is touched, and never a makefile that is included.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from itertools import islice

from remit.values import Tree, TreeEntry
from remit.verifiers.input_names import ROOT
from remit.verifiers.input_tree import InputTree, folders_above, is_same
from remit.verifiers.make_rules import NAMES, MakeRule, Rules, expand, is_makefile, read_rules
from remit.verifiers.sources import is_source
from remit.verifiers.texts import Read

_FORCE = ".judged-anew"
_CANCELLED = {
    r"(.+)\.sh": "%: %.sh",
    r"(?:RCS/)?(.+),v": "%:: %,v\n%:: RCS/%,v",
    r"RCS/(.+)": "%:: RCS/%",
    r"(?:SCCS/)?s\.(.+)": "%:: s.%\n%:: SCCS/s.%",
}
"""What a file that the work left may be turned from, and the lines that cancel the rules for it."""
_COMMAND_NAME = re.compile(
    r"(?!(?:build|dist|bin|obj|out|lib|libs|deps|vendor|target|venv|env|node_modules|include|share|data|tmp)$)[\w-]+"
)
_MAKES = re.compile(
    r"\b(?:mkdir|touch|install|venv|clone|curl|wget|cmake|configure|autoreconf|ln|cp|mv|tar|unzip)\b|>|-o\b"
)
_SEARCHES = re.compile(r"^\s*(?:VPATH\b|vpath\b|GPATH\b)", re.MULTILINE)
_EVALUATES = re.compile(r"\$[({]eval\b")
_ALL_NEEDS = re.compile(r"\$[({]?[\^+?]")
"""A recipe that would be given what forces it, too."""
_TEXT_MAX = 256 * 1024
_LEFT_MAX = 5_000


def makefile_of(input_tree: Tree, verification_tree: Tree, read: Read, *, root: str = ROOT) -> str | None:
    """Return the text for MAKEFILES, or None where nothing of the work could count as done. `read` gives the text of a file
    of the input, `root` is where the tree will stand."""
    before = InputTree(input_tree).entries
    after = InputTree(verification_tree).entries
    makefiles = {
        path: (text, read_rules(text, {}))
        for path, entry in before.items()
        if entry.kind != "dir" and is_makefile(path) and (text := read(path)) is not None
        if len(text) <= _TEXT_MAX
    }
    if not makefiles:
        return None
    left = {path: entry for path, entry in after.items() if path not in before}
    changed = {
        path for path, entry in after.items() if entry.kind == "file" and not is_same(entry, before.get(path))
    }
    ruled = {name for _, rules in makefiles.values() for name in rules.rules}
    parts = [*_cancelled(changed, before.keys() | ruled), *_unmade(changed, makefiles, ruled)]
    for folder, names, forced in _per_folder(before, left, makefiles):
        lines = [f".PHONY: {_escaped(name)}" for name in names]
        lines += [f"{_escaped(name)}: {_FORCE}" for name in forced]
        parts.append(
            f"ifeq ($(CURDIR),{_escaped(posixpath.join(root, folder).rstrip('/'))})\n"
            + "\n".join(lines)
            + "\nendif"
        )
    if not parts:
        return None
    head = f".PHONY: {_FORCE}\n{_FORCE}: ;" if any(_FORCE in part for part in parts) else ""
    # A project that asks for the first makefile that was read means its own.
    return "\n".join([*filter(None, [head]), *parts, "MAKEFILE_LIST :=", ""])


def _cancelled(changed: set[str], known: set[str]) -> Iterator[str]:
    """Lines for the rules by which a changed file could become a file of the input, or a target."""
    for pattern, lines in _CANCELLED.items():
        made = (re.sub(f"(^|/){pattern}$", r"\1\2", path) for path in changed)
        if any(path not in changed and (path in known or posixpath.basename(path) in known) for path in made):
            yield lines


def _unmade(changed: set[str], makefiles: Mapping[str, object], ruled: set[str]) -> Iterator[str]:
    """A makefile without a rule of its own is not made from a file called like it (Makefile.c, Makefile.o)."""
    for name in sorted({posixpath.basename(path) for path in makefiles} | set(NAMES)):
        if name not in ruled and any(posixpath.basename(path).startswith(f"{name}.") for path in changed):
            yield f"{_escaped(name)}: ;"


def _per_folder(
    before: Mapping[str, TreeEntry], left: Mapping[str, TreeEntry], makefiles: Mapping[str, tuple[str, Rules]]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """For each folder that make may run in: the targets to declare phony, and those of pattern rules to make anew."""
    homes = {posixpath.dirname(path) for path in makefiles if posixpath.basename(path) in NAMES}
    phony: dict[str, dict[str, None]] = {}
    forced: dict[str, dict[str, None]] = {}
    for path, (text, rules) in makefiles.items():
        home = posixpath.dirname(path)
        folders = {home, "", *folders_above(path), *(() if posixpath.basename(path) in NAMES else homes)}
        names = {posixpath.basename(each) for each in left} if _SEARCHES.search(text) else set[str]()
        for folder in folders if _has_unknown_targets(text, rules) else ():
            for name, is_command in _any_target(folder, before, left, makefiles):
                if is_command or _ALL_NEEDS.search(text) is None:
                    (phony if is_command else forced).setdefault(folder, {})[name] = None
        for target, rule in rules.rules.items():
            if not rule.recipe or "$" in target or _is_included(target, makefiles):
                continue
            for folder in folders:
                if "%" in target:
                    if not rule.needs:
                        forced.setdefault(folder, {}).update(dict.fromkeys(_matching(target, folder, left)))
                    continue
                entry = left.get(posixpath.normpath(posixpath.join(folder, target)))
                is_made_here = entry is not None and entry.kind == "dir" and _makes_a_folder(rule.recipe)
                if (entry is not None and not is_made_here) or target in names:
                    phony.setdefault(folder, {})[target] = None
            if _is_command(target, rule, rules) and not any(
                posixpath.join(each, target) in before for each in folders
            ):
                phony.setdefault(home, {})[target] = None
    for folder in sorted(phony.keys() | forced.keys()):
        names_here, forced_here = list(phony.get(folder, ())), list(forced.get(folder, ()))
        if names_here or forced_here:
            yield folder, names_here, forced_here


def _has_unknown_targets(text: str, rules: Rules) -> bool:
    """Whether what a makefile makes cannot be told without make: names that it computes, rules that it evaluates."""
    return any("$" in target for target in rules.rules) or _EVALUATES.search(text) is not None


def _any_target(
    folder: str,
    before: Mapping[str, TreeEntry],
    left: Mapping[str, TreeEntry],
    makefiles: Mapping[str, tuple[str, Rules]],
) -> Iterator[tuple[str, bool]]:
    """What was left below a folder and is no source, each with whether it may be a command's name alone."""
    inside = f"{folder}/" if folder else ""
    stems = {posixpath.splitext(path)[0] for path in (*before, *left) if is_source(path)}
    for path, entry in islice(left.items(), _LEFT_MAX):
        name = path.removeprefix(inside)
        is_command = _COMMAND_NAME.fullmatch(name) is not None
        if not path.startswith(inside) or is_source(path) or _is_included(name, makefiles):
            continue
        if is_command or entry.kind != "dir":
            yield name, is_command and path not in stems


def _is_included(target: str, makefiles: Mapping[str, tuple[str, Rules]]) -> bool:
    words = [word for _, rules in makefiles.values() for word in rules.includes]
    return posixpath.splitext(target)[1] in (".d", ".mk", ".make", ".dep", ".depend") or any(
        re.fullmatch(re.escape(word.removeprefix("./")).replace(r"\$_", ".*").replace(r"\*", ".*"), target)
        for word in words
    )


def _makes_a_folder(recipe: list[str]) -> bool:
    """Whether the recipe would fail where the folder is there: `mkdir build` without -p."""
    return any(re.search(r"\bmkdir\b(?!.*\s-\w*p)", line) for line in recipe)


def _is_command(target: str, rule: MakeRule, rules: Rules) -> bool:
    """Whether a target only names what its recipe does, so that a file called like it, which the work could make while an
    earlier target runs it, is none of its output."""
    recipe = "\n".join(rule.recipe)
    known = expand(recipe, rules.variables)
    is_phony = target in rules.rules.get(".PHONY", MakeRule()).needs
    return (
        not is_phony
        and _COMMAND_NAME.fullmatch(target) is not None
        and re.search(r"\$[@({]?@", recipe) is None
        and re.search(rf"\b{re.escape(target)}\b", known) is None
        and _MAKES.search(known) is None
    )


def _matching(pattern: str, folder: str, left: Mapping[str, TreeEntry]) -> Iterator[str]:
    expression = re.compile(".+".join(map(re.escape, pattern.split("%", 1))))
    inside = f"{folder}/" if folder else ""
    for path, entry in left.items():
        name = path.removeprefix(inside)
        if path.startswith(inside) and entry.kind != "dir" and expression.fullmatch(name):
            yield name


def _escaped(name: str) -> str:
    return re.sub(r"([\s#%:\\*?\[]|^~)", r"\\\1", name).replace("$", "$$")
