"""Where the Python packages of an input lie, told from its files alone."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pytest

from remit.remits.source_roots import SourceRoots, metadata_files, source_roots
from remit.values import InstalledPython, Tree, TreeEntry, installed_python

pytestmark = pytest.mark.anyio

HATCH = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


def named(name: str, more: str = "") -> str:
    return f'[project]\nname = "{name}"\nversion = "1.2"\n{more}'


def tree_of(files: dict[str, str]) -> Tree:
    entries: dict[str, TreeEntry] = {}
    for path, text in files.items():
        parts = path.split("/")
        for count in range(1, len(parts)):
            folder = "/".join(parts[:count])
            entries[folder] = TreeEntry(path=folder, kind="dir", mode=0o755)
        digest = hashlib.sha256(text.encode()).hexdigest()
        entries[path] = TreeEntry(path=path, kind="file", size=len(text), sha256=digest)
    return Tree(entries=tuple(entries[path] for path in sorted(entries)))


async def found(files: dict[str, str], installed: InstalledPython | None = None) -> SourceRoots:
    async def read(entry: TreeEntry) -> str | None:
        return files[entry.path]

    return await source_roots(tree_of(files), read, installed or InstalledPython())


class Layout(NamedTuple):
    files: dict[str, str]
    paths: tuple[str, ...]


LAYOUTS = {
    "src": Layout(
        {"pyproject.toml": named("pkg"), "src/pkg/__init__.py": "", "tests/test_a.py": ""}, ("src",)
    ),
    "flat": Layout({"pyproject.toml": named("pkg"), "pkg/__init__.py": "", "tests/test_a.py": ""}, ("",)),
    "one module": Layout({"pyproject.toml": named("six-like"), "six_like.py": ""}, ("",)),
    "src of one module": Layout({"setup.py": "setup(name='m')", "src/m.py": ""}, ("src",)),
    "setup.py alone": Layout({"setup.py": "setup(name='pkg')", "pkg/__init__.py": ""}, ("",)),
    "setup.py with package_dir": Layout(
        {
            "setup.py": "setup(name='pkg', package_dir={'': 'lib'}, packages=find_packages('lib'))",
            "lib/pkg/__init__.py": "",
        },
        ("lib",),
    ),
    "setup.cfg": Layout(
        {
            "setup.cfg": "[metadata]\nname = pkg\n[options]\npackage_dir =\n    = code\n",
            "code/pkg/__init__.py": "",
        },
        ("code",),
    ),
    "setup.cfg with find": Layout(
        {
            "setup.cfg": "[metadata]\nname = pkg\n[options.packages.find]\nwhere = source\n",
            "source/pkg/__init__.py": "",
        },
        ("source",),
    ),
    "setuptools where": Layout(
        {
            "pyproject.toml": named("pkg", '[tool.setuptools.packages.find]\nwhere = ["python"]\n'),
            "python/pkg/__init__.py": "",
        },
        ("python",),
    ),
    "setuptools package-dir": Layout(
        {
            "pyproject.toml": named("pkg", '[tool.setuptools]\npackage-dir = {"" = "lib"}\n'),
            "lib/pkg/__init__.py": "",
        },
        ("lib",),
    ),
    "hatch packages": Layout(
        {
            "pyproject.toml": named("x", '[tool.hatch.build.targets.wheel]\npackages = ["code/other"]\n')
            + HATCH,
            "code/other/__init__.py": "",
        },
        ("code",),
    ),
    "poetry": Layout(
        {
            "pyproject.toml": '[tool.poetry]\nname = "x"\npackages = [{include = "pkg", from = "lib"}]\n',
            "lib/pkg/__init__.py": "",
        },
        ("lib",),
    ),
    "flit": Layout(
        {"pyproject.toml": '[tool.flit.metadata]\nmodule = "pkg"\n', "src/pkg/__init__.py": ""}, ("src",)
    ),
    "pdm": Layout(
        {
            "pyproject.toml": named("pkg", '[tool.pdm.build]\npackage-dir = "sources"\n'),
            "sources/pkg/__init__.py": "",
        },
        ("sources",),
    ),
    "maturin": Layout(
        {
            "pyproject.toml": named("pkg", '[tool.maturin]\npython-source = "python"\n'),
            "python/pkg/__init__.py": "",
        },
        ("python",),
    ),
    "uv": Layout(
        {
            "pyproject.toml": named("pkg", '[tool.uv.build-backend]\nmodule-root = ""\n'),
            "pkg/__init__.py": "",
        },
        ("",),
    ),
    "a package without __init__": Layout({"pyproject.toml": named("pkg"), "pkg/core.py": ""}, ("",)),
    "a namespace in src": Layout({"pyproject.toml": named("a-b"), "src/a/b/core.py": ""}, ("src",)),
    "a workspace": Layout(
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
            "packages/b/pyproject.toml": named("b"),
            "packages/b/src/b/__init__.py": "",
            "packages/a/pyproject.toml": named("a"),
            "packages/a/a/__init__.py": "",
        },
        ("packages/a", "packages/b/src"),
    ),
    "below the root": Layout(
        {"package.json": "{}", "backend/pyproject.toml": named("api"), "backend/api/__init__.py": ""},
        ("backend",),
    ),
    "fixtures and templates are no projects": Layout(
        {
            "pyproject.toml": named("pkg"),
            "src/pkg/__init__.py": "",
            "src/pkg/new/project/pyproject.toml": named("made"),
            "src/pkg/new/project/made/__init__.py": "",
            "tests/data/pyproject.toml": named("fixture"),
            "tests/data/fixture/__init__.py": "",
            "{{cookiecutter.name}}/pyproject.toml": named("made"),
        },
        ("src",),
    ),
    "tests are no package": Layout(
        {"pyproject.toml": named("tool"), "tests/__init__.py": "", "conftest.py": ""}, ()
    ),
    "no project": Layout({"app.py": "", "lib/__init__.py": "", "pyproject.toml": "[tool.ruff]\n"}, ()),
    "a manifest that cannot be read": Layout({"pyproject.toml": "[[[", "pkg/__init__.py": ""}, ()),
    "a place that leads out": Layout(
        {
            "pyproject.toml": named("pkg", '[tool.setuptools.packages.find]\nwhere = ["../../etc"]\n'),
            "src/pkg/__init__.py": "",
        },
        ("src",),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
async def test_the_folders_of_a_projects_own_packages_are_found(layout: Layout) -> None:
    assert (await found(layout.files)).paths == layout.paths


@pytest.mark.parametrize(
    "name", ["json.py", "types.py", "email/__init__.py", "pytest.py", "pluggy/__init__.py"]
)
async def test_a_folder_that_would_stand_in_for_the_interpreters_own_is_left_out_and_named(name: str) -> None:
    some = await found({"pyproject.toml": named("pkg"), "pkg/__init__.py": "", name: ""})
    assert some.paths == ()
    assert name.partition("/")[0].removesuffix(".py") in some.notes[0]


@pytest.mark.parametrize(
    "name", ["test/__init__.py", "email/message.py", "platform/linux.c", "code/example.py"]
)
async def test_a_name_that_stands_in_for_nothing_is_no_reason(name: str) -> None:
    some = await found({"pyproject.toml": named("pkg"), "pkg/__init__.py": "", name: ""})
    assert (some.paths, some.notes) == (("",), ())


SITE = "/srv/x/.venv/lib/python3.11/site-packages"


async def test_a_copy_with_compiled_modules_that_the_input_lacks_is_kept_and_named() -> None:
    files = {"pyproject.toml": named("pkg"), "src/pkg/__init__.py": "", "src/pkg/plain.py": ""}
    compiled = installed_python(
        [
            f"{SITE}/pkg/_fast.cpython-311-x86_64-linux-gnu.so",
            f"{SITE}/pkg/plain.cpython-311-x86_64-linux-gnu.so",
        ]
    )
    some = await found(files, compiled)
    assert some.paths == ()
    assert "installed copy of pkg" in some.notes[0]
    assert "pkg/_fast" in some.notes[0]
    assert "plain" not in some.notes[0]
    there = await found({**files, "src/pkg/_fast.cpython-311-x86_64-linux-gnu.so": ""}, compiled)
    assert (there.paths, there.notes) == (("src",), ())


async def test_what_is_told_of_a_project_stands_only_where_it_is_not_installed() -> None:
    files = {
        "pyproject.toml": named("My.Project", '[project.scripts]\nrun = "pkg:main"\n'),
        "src/pkg/__init__.py": "",
    }
    texts = metadata_files((await found(files)).distributions)
    folder = "my_project-1.2.dist-info"
    assert texts[f"{folder}/METADATA"] == "Metadata-Version: 2.1\nName: My.Project\nVersion: 1.2\n"
    assert texts[f"{folder}/entry_points.txt"] == "[console_scripts]\nrun = pkg:main\n"
    for record in ("my_project-0.9.dist-info/METADATA", "My_Project-0.9.egg-info"):
        assert (await found(files, installed_python([f"{SITE}/{record}"]))).distributions == ()


VERSIONS = {
    "the manifest": ({"pyproject.toml": named("pkg")}, "1.2"),
    "PKG-INFO": (
        {"pyproject.toml": '[project]\nname = "pkg"\n', "PKG-INFO": "Name: pkg\nVersion: 3.4\n\n"},
        "3.4",
    ),
    "the package": (
        {"pyproject.toml": '[project]\nname = "pkg"\n', "src/pkg/_version.py": '__version__ = "5.6"'},
        "5.6",
    ),
    "a file that is named": (
        {
            "pyproject.toml": '[project]\nname = "pkg"\n[tool.hatch.version]\npath = "src/pkg/about.py"\n',
            "src/pkg/about.py": 'version = "7.8"\n',
        },
        "7.8",
    ),
    "nothing": ({"pyproject.toml": '[project]\nname = "pkg"\n'}, "0.0.0"),
}


@pytest.mark.parametrize(("files", "version"), VERSIONS.values(), ids=VERSIONS.keys())
async def test_a_version_is_found_where_projects_have_it(files: dict[str, str], version: str) -> None:
    some = await found({"src/pkg/__init__.py": "", **files})
    assert [one.version for one in some.distributions] == [version]
