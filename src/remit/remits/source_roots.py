"""Roots of the Python packages of an input, so that tests import the work and not an installed copy of it.

Pure but for `read`: told from the input's tree and the manifests in it. The folders go on PYTHONPATH of agent and
verifiers alike, which precedes what is installed.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from remit.remits.python_projects import MANIFESTS, Project, module_name, read_project, version_in
from remit.values import InstalledPython, Tree, TreeEntry, Value, normalised
from remit.wording import listed

PROJECTS_MAX = 64
DEPTH_MAX = 5
MANIFEST_BYTES_MAX = 512 << 10
NAMES_SHOWN_MAX = 5
_JUDGES = frozenset({"pytest", "_pytest", "pluggy", "iniconfig", "py", "pip"})
"""Modules that a judge's own interpreter stands on, beside the standard library."""
_HARMLESS = frozenset({"test"})
"""Of the standard library, and needed by nothing but its own tests."""
_NO_PROJECT = frozenset(
    [
        "test",
        "tests",
        "testing",
        "testdata",
        "test_data",
        "fixtures",
        "fixture",
        "examples",
        "example",
        "samples",
        "sample",
        "demos",
        "demo",
        "docs",
        "doc",
        "benchmarks",
        "templates",
        "template",
        "cookiecutter",
        "vendor",
        "_vendor",
        "third_party",
        "node_modules",
        "venv",
        "env",
        "site-packages",
        "build",
        "dist",
    ]
)
"""Folders in which a project is somebody's example or fixture."""
_NO_PACKAGE = frozenset(
    [
        "setup",
        "conftest",
        "noxfile",
        "tasks",
        "fabfile",
        "toxfile",
        "ez_setup",
        "versioneer",
        "docs",
        "doc",
        "documentation",
        "tests",
        "test",
        "testing",
        "bin",
        "scripts",
        "script",
        "tools",
        "util",
        "utils",
        "python",
        "build",
        "benchmark",
        "benchmarks",
        "exercise",
        "exercises",
        "examples",
        "example",
        "samples",
        "sample",
        "dist",
        "venv",
        "env",
        "node_modules",
    ]
)
"""What lies in a project's folder and is not its package, as setuptools counts."""
_MODULE_ENDINGS = (".py", ".pyc", ".so", ".pyd")
_VERSION_MODULES = ("_version.py", "version.py", "__about__.py", "__version__.py", "_meta.py", "__init__.py")

Read = Callable[[TreeEntry], Awaitable[str | None]]
"""The text of a file of the input; None where it is none."""


class Distribution(Value, frozen=True, kw_only=True):
    """The metadata by which `importlib.metadata` knows a project that is not installed."""

    name: str
    version: str
    entry_points: dict[str, dict[str, str]]


class SourceRoots(Value, frozen=True, kw_only=True):
    """The source roots that are found in an input."""

    paths: tuple[str, ...] = ()
    """Folders relative to the input, in order; empty text for its root."""
    distributions: tuple[Distribution, ...] = ()
    notes: tuple[str, ...] = ()


class _Folders:
    """A tree by folder."""

    def __init__(self, tree: Tree) -> None:
        self.entries: dict[str, TreeEntry] = {entry.path: entry for entry in tree.entries}
        self.children: dict[str, list[TreeEntry]] = {}
        for entry in tree.entries:
            self.children.setdefault(posixpath.dirname(entry.path), []).append(entry)

    def names(self, folder: str) -> dict[str, TreeEntry]:
        """What is directly in a folder, by name."""
        return {posixpath.basename(entry.path): entry for entry in self.children.get(folder, ())}


async def source_roots(tree: Tree, read: Read, installed: InstalledPython) -> SourceRoots:
    """The folders that hold the input's own Python packages, in a fixed order: the root's project first, then by path."""
    folders = _Folders(tree)
    paths: list[str] = []
    distributions: list[Distribution] = []
    notes: list[str] = []
    taken: set[str] = set()
    packages: list[str] = []
    for folder in _project_folders(folders):
        if any(folder == package or folder.startswith(f"{package}/") for package in packages):
            continue  # a template or fixture inside a package
        project = await _read(folder, folders, read)
        if project is None:
            continue
        has_root = False
        for root, modules in _roots(project, folders):
            packages += [posixpath.join(root, name) for name in modules]
            why_not = _why_not(root, modules, folders, installed, taken)
            if why_not is not None:
                notes.append(why_not)
                continue
            has_root = True
            taken.update(modules)
            if root not in paths:
                paths.append(root)
        if has_root and project.name is not None and normalised(project.name) not in installed.distributions:
            distributions.append(await _distribution(project, project.name, packages, folders, read))
    return SourceRoots(paths=tuple(paths), distributions=tuple(distributions), notes=tuple(notes))


def _project_folders(folders: _Folders) -> list[str]:
    """Folders with a manifest, not too deep, by depth and path."""
    found: set[str] = set()
    for path in folders.entries:
        folder, name = posixpath.split(path)
        parts = folder.split("/") if folder else []
        if name not in MANIFESTS[:3] or len(parts) > DEPTH_MAX:
            continue
        if any(part.startswith((".", "{")) or part.lower() in _NO_PROJECT for part in parts):
            continue
        found.add(folder)
    return sorted(found, key=lambda folder: (folder.count("/") + bool(folder), folder))[:PROJECTS_MAX]


async def _read(folder: str, folders: _Folders, read: Read) -> Project | None:
    texts: dict[str, str] = {}
    names = folders.names(folder)
    for name in MANIFESTS:
        entry = names.get(name)
        if entry is not None and (text := await _text(entry, read)) is not None:
            texts[name] = text
    return read_project(folder, texts)


async def _text(entry: TreeEntry | None, read: Read) -> str | None:
    if entry is None or entry.kind != "file" or entry.size > MANIFEST_BYTES_MAX:
        return None
    return await read(entry)


def _roots(project: Project, folders: _Folders) -> list[tuple[str, tuple[str, ...]]]:
    """Folders of a project with the importable names in each; those that it says, else `src`, else its own."""
    src = posixpath.join(project.folder, "src")
    said = [place for place in project.places if place == "" or place in folders.children]
    found = [(place, _modules(place, project, folders)) for place in said or [src]]
    if not any(modules for _, modules in found):
        found = [(project.folder, _modules(project.folder, project, folders))]
    return [(place, modules) for place, modules in found if modules]


def _modules(root: str, project: Project, folders: _Folders) -> tuple[str, ...]:
    """The packages and modules in a folder that are the project's. In the project's own folder there is much else."""
    own = {module_name(project.name)} if project.name is not None else set[str]()
    own.update(project.modules)
    is_flat = root == project.folder
    found: list[str] = []
    for name, entry in folders.names(root).items():
        if entry.kind == "file":
            stem, ending = posixpath.splitext(name)
            if (
                ending == ".py"
                and stem.isidentifier()
                and (stem in own or not is_flat or stem not in _NO_PACKAGE)
            ):
                found.append(stem)
        elif entry.kind == "dir" and name.isidentifier():
            is_package = "__init__.py" in folders.names(entry.path)
            is_like_one = is_package or ((name in own or not is_flat) and _has_python(entry.path, folders))
            if is_like_one and (name in own or not is_flat or name not in _NO_PACKAGE):
                found.append(name)
    return tuple(sorted(found))


def _has_python(folder: str, folders: _Folders, depth: int = 2) -> bool:
    """Whether there are modules in it, as in a package without `__init__.py`."""
    for entry in folders.children.get(folder, ()):
        if entry.kind == "file" and entry.path.endswith(".py"):
            return True
        if entry.kind == "dir" and depth and _has_python(entry.path, folders, depth - 1):
            return True
    return False


def _why_not(
    root: str, modules: Sequence[str], folders: _Folders, installed: InstalledPython, taken: set[str]
) -> str | None:
    """What speaks against putting a folder before all that is installed."""
    shown = f"{root}/" if root else "the input's own folder"
    importable = {_module(path) for path in _importable(root, folders)}
    shadowed = sorted(name for name in importable if is_interpreters_own(name))
    if shadowed:
        return (
            f"{shown} is not put on PYTHONPATH: its {listed(shadowed, NAMES_SHOWN_MAX)} would stand in for the interpreter's own. "
            "Tests find the work only from the folder that they run in"
        )
    twice = sorted(set(modules) & taken)
    if twice and len(twice) == len(modules):
        return f"{shown} is not put on PYTHONPATH: {listed(twice, NAMES_SHOWN_MAX)} is found in another folder of the input first"
    lacking = _only_installed(root, modules, folders, installed)
    if lacking:
        return (
            f"the tests may run on the installed copy of {listed(sorted({path.partition('/')[0] for path in lacking}), NAMES_SHOWN_MAX)}: the "
            f"toolchain's has compiled modules that the input lacks ({listed(lacking, NAMES_SHOWN_MAX)})"
        )
    return None


def is_interpreters_own(name: str) -> bool:
    """Return whether a judge's interpreter needs its own module of this name, not somebody's."""
    return (name in sys.stdlib_module_names or name in _JUDGES) and name not in _HARMLESS


def _importable(root: str, folders: _Folders) -> set[str]:
    """Modules and packages, by path, that a folder on the path would answer with first. One without `__init__.py`
    answers last."""
    return {
        entry.path
        for name, entry in folders.names(root).items()
        if (entry.kind != "dir" and name.endswith(_MODULE_ENDINGS))
        or any(inside.partition(".")[0] == "__init__" for inside in folders.names(entry.path))
    }


def _module(path: str) -> str:
    return posixpath.basename(path).partition(".")[0]


def _only_installed(
    root: str, modules: Sequence[str], folders: _Folders, installed: InstalledPython
) -> list[str]:
    """Compiled modules of the installed copy that the input has neither compiled nor as text."""
    wanted = [path for path in installed.compiled if path.partition("/")[0] in modules and "/" in path]
    if not wanted:
        return []
    there = {path.partition(".")[0] for path in folders.entries if path.endswith((".py", ".so", ".pyd"))}
    return [path for path in wanted if posixpath.join(root, path) not in there]


async def _distribution(
    project: Project, name: str, packages: Iterable[str], folders: _Folders, read: Read
) -> Distribution:
    version = project.version
    places = [package for package in packages if package in folders.children]
    candidates = [
        *project.version_files,
        *(f"{place}/{file}" for place in places for file in _VERSION_MODULES),
    ]
    candidates += [f"{package}.py" for package in packages]
    for path in candidates:
        if version is not None:
            break
        text = await _text(folders.entries.get(path), read)
        version = version_in(text) if text is not None else None
    return Distribution(name=name, version=version or "0.0.0", entry_points=dict(project.entry_points))


def metadata_files(distributions: Iterable[Distribution]) -> Mapping[str, str]:
    """The files by which `importlib.metadata` finds these, to stand in a folder on PYTHONPATH."""
    files: dict[str, str] = {}
    for one in distributions:
        folder = f"{normalised(one.name).replace('-', '_')}-{one.version}.dist-info"
        files[f"{folder}/METADATA"] = f"Metadata-Version: 2.1\nName: {one.name}\nVersion: {one.version}\n"
        groups = [
            "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in sorted(points.items()))])
            for group, points in sorted(one.entry_points.items())
        ]
        if groups:
            files[f"{folder}/entry_points.txt"] = "\n\n".join(groups) + "\n"
    return files
