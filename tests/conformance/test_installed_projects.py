"""Projects that are installed in a toolchain, in the ways there are: what a sandbox imports is the work."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.interfaces import SandboxProvider
from remit.orchestrator.surroundings import search_path, variables
from remit.remits.events import AgentRef, Budget, HarnessRef, RemitCreated, RemitSetupEnded
from remit.remits.setup import RemitSetup
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.testing.sandbox_checks.given import Hands
from remit.values import Principal, SandboxSpec, Tree, TreeEntry
from support.kept import kept

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class Layout(NamedTuple):
    root: str
    files: dict[str, str]


MANIFEST = '[project]\nname = "my-pkg"\nversion = "2.0"\n[project.scripts]\nmine = "my_pkg:main"\n'
CODE = "def main():\n    print('work')\n"
LAYOUTS = {
    "src": Layout("src", {"pyproject.toml": MANIFEST, "src/my_pkg/__init__.py": CODE}),
    "flat": Layout("", {"pyproject.toml": MANIFEST, "my_pkg/__init__.py": CODE, "tests/test_a.py": ""}),
    "one module": Layout("", {"pyproject.toml": MANIFEST, "my_pkg.py": CODE}),
    "a part of a monorepo": Layout(
        "libs/a/src", {"libs/a/pyproject.toml": MANIFEST, "libs/a/src/my_pkg/__init__.py": CODE, "README": ""}
    ),
}

FINDER = """
import sys, importlib.util
MAPPING = {mapping!r}
class _Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MAPPING:
            return importlib.util.spec_from_file_location(name, MAPPING[name])
def install():
    sys.meta_path.append(_Finder)
"""


def nothing(site: Path, host: Path, layout: Layout) -> None:
    """The project is not installed."""


def link(site: Path, host: Path, layout: Layout) -> None:
    """As hatch, flit, poetry, pdm and setuptools link a folder."""
    (site / "_my_pkg.pth").write_text(f"{host / layout.root}\n")
    record(site)


def finder(site: Path, host: Path, layout: Layout) -> None:
    """As setuptools links single packages."""
    (site / "__editable___my_pkg_2_0_finder.py").write_text(
        FINDER.format(mapping={"my_pkg": str(host / layout.root / "my_pkg" / "__init__.py")})
    )
    (site / "__editable__.my_pkg-2.0.pth").write_text(
        "import __editable___my_pkg_2_0_finder; __editable___my_pkg_2_0_finder.install()\n"
    )
    record(site)


def copy(site: Path, host: Path, layout: Layout) -> None:
    """As `pip install .`, a while ago."""
    (site / "my_pkg").mkdir()
    (site / "my_pkg" / "__init__.py").write_text("def main():\n    print('stale')\n")
    record(site)


def record(site: Path) -> None:
    info = site / "my_pkg-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-pkg\nVersion: 2.0\n")


INSTALLED = [nothing, link, finder, copy]


async def store(blobs: DirectoryBlobStore, files: Mapping[str, str]) -> str:
    entries: dict[str, TreeEntry] = {}
    for path, text in files.items():
        for parent in Path(path).parents:
            if str(parent) != ".":
                entries[str(parent)] = TreeEntry(path=str(parent), kind="dir", mode=0o755)
        content = text.encode()
        entries[path] = TreeEntry(
            path=path, kind="file", size=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        await blobs.put(content)
    return await blobs.put(Tree(entries=tuple(entries[path] for path in sorted(entries))).encode())


def created(tree_digest: str, toolchains: tuple[str, ...]) -> RemitCreated:
    harness = HarnessRef(name="remit", version="1")
    return RemitCreated(
        outcome="x",
        verifiers=(),
        budget=Budget(usd="1"),
        agent=AgentRef(id="agent_1", version=1, name="a", model="m", harness=harness),
        model="m",
        max_iterations=1,
        tree_digest=tree_digest,
        toolchains=toolchains,
    )


@contextlib.asynccontextmanager
async def sandbox(
    provider: SandboxProvider,
    blobs: DirectoryBlobStore,
    files: Mapping[str, str],
    toolchains: tuple[str, ...] = (),
) -> AsyncGenerator[tuple[Hands, RemitSetupEnded]]:
    tree_digest = await store(blobs, files)
    setup = RemitSetup(sandboxes=provider, blobs=kept(blobs), clock=SystemClock())
    ended = await setup.set_up(ONE, "remit_1", created(tree_digest, toolchains))
    assert ended.error is None
    one = await provider.create(
        SandboxSpec(
            key="k",
            epoch=1,
            tree_digest=tree_digest,
            toolchains=toolchains,
            mounts=ended.mounts,
            environment=variables({}, None, ended.python_path),
            path=search_path(None, ended.path),
        )
    )
    try:
        yield Hands(one), ended
    finally:
        await one.destroy()


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment without anything."""
    folder = tmp_path / "toolchain" / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


ASK = "python -c 'import my_pkg; my_pkg.main(); import importlib.metadata as m; print(m.version(\"my-pkg\"))'"


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("install", INSTALLED, ids=lambda install: install.__name__)
async def test_the_work_is_imported_however_the_project_is_installed(
    tmp_path: Path, environment: Path, layout: Layout, install: Callable[[Path, Path, Layout], None]
) -> None:
    install(environment / "lib" / f"python{VERSION}" / "site-packages", tmp_path / "host", layout)
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with (
        BubblewrapProvider(tmp_path / "run", blobs, Ids(SystemClock())) as provider,
        sandbox(provider, blobs, layout.files, (str(environment),)) as (hands, ended),
    ):
        assert (await hands.shell(ASK)).output == b"work\n2.0\n"
        assert ended.notes == ()
        assert bool(ended.mounts) is (install is nothing)  # what is installed is told of by its own record


@pytest.mark.long
async def test_a_compiled_copy_is_not_hidden_by_a_tree_without_it(tmp_path: Path, environment: Path) -> None:
    site = environment / "lib" / f"python{VERSION}" / "site-packages"
    copy(site, tmp_path, LAYOUTS["src"])
    (site / "my_pkg" / "_fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"")
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with (
        BubblewrapProvider(tmp_path / "run", blobs, Ids(SystemClock())) as provider,
        sandbox(provider, blobs, LAYOUTS["src"].files, (str(environment),)) as (hands, ended),
    ):
        assert (await hands.shell(ASK)).output == b"stale\n2.0\n"
        assert ended.python_path == ()
        assert "installed copy of my_pkg" in ended.notes[0]


@pytest.mark.long
async def test_without_isolation_the_work_is_found_in_its_folder_too(tmp_path: Path) -> None:
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with (
        LocalProvider(tmp_path / "run", blobs, Ids(SystemClock())) as provider,
        sandbox(provider, blobs, LAYOUTS["src"].files) as (hands, _),
    ):
        assert (await hands.shell(ASK)).output == b"work\n2.0\n"
