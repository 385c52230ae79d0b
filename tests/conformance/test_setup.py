"""A remit's setup: run once with registries that are ours, then read-only at its place for agent and verifiers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.catalog.owned_blobs import OwnedBlobs
from remit.clock import SystemClock
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.errors import SandboxUnavailable
from remit.ids import Ids
from remit.orchestrator.kept_layers import KeptLayers
from remit.orchestrator.setup_layers import SetupLayer, SetupLayers, SetupRequest
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.stores.memory import MemoryCatalog
from remit.testing.sandbox_checks.given import Hands
from remit.values import Principal, SandboxSpec, Tree, TreeEntry
from support.kept import kept
from support.package_registry import Registry, serving

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
MANIFEST = '{"name": "own", "dependencies": {"salute": "2.0.0"}}'


class World:
    def __init__(
        self, provider: BubblewrapProvider, layers: SetupLayers, blobs: OwnedBlobs, registry: Registry
    ) -> None:
        self.provider = provider
        self.layers = layers
        self.blobs = blobs
        self.registry = registry

    async def tree(self, files: Mapping[str, str]) -> str:
        entries: dict[str, TreeEntry] = {}
        for path, text in files.items():
            for parent in Path(path).parents:
                if str(parent) != ".":
                    entries[str(parent)] = TreeEntry(path=str(parent), kind="dir", mode=0o755)
            content = text.encode()
            entries[path] = TreeEntry(
                path=path, kind="file", size=len(content), sha256=hashlib.sha256(content).hexdigest()
            )
            await self.blobs.put(ONE, "remit_1", content)
        tree = Tree(entries=tuple(entries[path] for path in sorted(entries)))
        return await self.blobs.put(ONE, "remit_1", tree.encode())

    async def set_up(self, command: str, files: Mapping[str, str]) -> SetupLayer:
        request = SetupRequest(command=command, tree_digest=await self.tree(files), variables={})
        return await self.layers.layer(ONE, "remit_1", request)

    @contextlib.asynccontextmanager
    async def sandbox(self, layer: SetupLayer, files: Mapping[str, str]) -> AsyncGenerator[Hands]:
        sandbox = await self.provider.create(
            SandboxSpec(
                key="k",
                epoch=1,
                tree_digest=await self.tree(files),
                mounts=layer.mounts,
                environment={"PYTHONPATH": ":".join(layer.python_path)} if layer.python_path else {},
                path=layer.path,
            )
        )
        try:
            yield Hands(sandbox)
        finally:
            await sandbox.destroy()


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncGenerator[World]:
    async with serving() as (registry, place, base):
        egress = ProxiedEgress(EgressSettings(registries=(place.partition(":")[0],), private_hosts=(place,)))
        clock = SystemClock()
        ids, store, catalog = Ids(clock), DirectoryBlobStore(folder / "blobs"), MemoryCatalog(clock)
        blobs = kept(store, catalog)
        try:
            async with BubblewrapProvider(folder / "run", store, ids, egress=egress) as provider:
                layers = SetupLayers(
                    provider=provider,
                    layers=KeptLayers(blobs=blobs, catalog=catalog, clock=clock),
                    blobs=blobs,
                    ids=ids,
                    pip_index_url=f"{base}/simple",
                    npm_registry=f"{base}/",
                )
                yield World(provider, layers, blobs, registry)
        finally:
            await egress.close()


async def needs_npm(it: World) -> None:
    if "npm" not in (await it.provider.image()).programs:
        pytest.skip("npm is not installed")


async def test_npm_packages_stand_at_their_place_read_only_and_without_a_network(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await needs_npm(it)
        files = {"package.json": MANIFEST, "index.js": "require('salute')()"}
        layer = await it.set_up("npm install --no-package-lock", files)
        assert [mount.path for mount in layer.mounts] == ["/workspace/node_modules"]
        assert layer.path == ("/workspace/node_modules/.bin",)
        async with it.sandbox(layer, files) as hands:
            assert (await hands.shell("node index.js; salute; npx salute")).output == b"hello from npm\n" * 3
            refused = await hands.shell("touch node_modules/salute/x || rm node_modules/salute/index.js")
            assert refused.exit_code != 0
            assert (await hands.shell("mv node_modules x || rm -r node_modules")).exit_code != 0
            assert (
                await hands.shell("echo 1 > node_modules/.cache/x && cat node_modules/.cache/x")
            ).output == b"1\n"
            assert [entry.path for entry in (await hands.sandbox.tree()).entries] == [
                "index.js",
                "package.json",
            ]


@pytest.mark.long
async def test_workspaces_are_found_through_their_links_and_are_the_work(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await needs_npm(it)
        files = {
            "package.json": '{"name": "root", "private": true, "workspaces": ["packages/*"]}',
            "packages/a/package.json": '{"name": "@own/a", "version": "1.0.0", "scripts": {"test": "node t.js"}, '
            '"dependencies": {"@own/b": "*", "salute": "2.0.0"}}',
            "packages/a/t.js": "require('salute')(); console.log(require('@own/b'))",
            "packages/b/package.json": '{"name": "@own/b", "version": "1.0.0", "exports": "./lib/b.js"}',
            "packages/b/lib/b.js": "module.exports = 'given'",
        }
        layer = await it.set_up("npm install --no-package-lock", files)
        changed = {**files, "packages/b/lib/b.js": "module.exports = 'work'"}
        async with it.sandbox(layer, changed) as hands:
            said = (await hands.shell("npm test --silent -w packages/a")).output
            assert said == b"hello from npm\nwork\n"


@pytest.mark.long
async def test_it_is_run_again_only_where_lock_files_or_manifests_are_others(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await needs_npm(it)
        command = "npm install --no-package-lock"
        first = await it.set_up(command, {"package.json": MANIFEST, "index.js": "1"})
        again = await it.set_up(command, {"package.json": MANIFEST, "index.js": "2", "new.js": ""})
        assert first == again
        asked = [path for path in it.registry.asked if path.endswith(".tgz")]
        assert len(asked) == 1
        other = MANIFEST.replace("own", "other")
        await it.set_up(command, {"package.json": other, "index.js": "1"})
        await it.set_up(f"{command} ", {"package.json": MANIFEST, "index.js": "1"})
        assert len([path for path in it.registry.asked if path.endswith(".tgz")]) == 3


@pytest.mark.long
async def test_what_is_made_of_the_input_itself_is_made_anew_for_every_input(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        command = "mkdir -p gen && cp source.txt gen/copy.txt"
        for text in ("one", "two"):
            files = {"source.txt": text, "package.json": "{}"}
            layer = await it.set_up(command, files)
            async with it.sandbox(layer, files) as hands:
                assert (await hands.shell("cat gen/copy.txt")).output.decode() == text


PYTHON = {
    "a virtual environment": (
        'python3 -m venv .venv && .venv/bin/pip install "greeting==1.0"',
        "greet; python -c 'import greeting; greeting.hello()'",
    ),
    "beside the interpreter": (
        "pip install -r requirements.txt",
        "greet; python3 -c 'import greeting; greeting.hello()'",
    ),
    "a folder of its own": (
        "pip install -r requirements.txt --target .deps",
        "greet; python3 -c 'import greeting; greeting.hello()'",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("command", "use"), PYTHON.values(), ids=PYTHON.keys())
async def test_python_packages_are_found_wherever_pip_put_them(
    tmp_path: Path, command: str, use: str
) -> None:
    async with world(tmp_path) as it:
        files = {"requirements.txt": "greeting==1.0\n", "x.py": ""}
        layer = await it.set_up(command, files)
        assert "greeting" in layer.python.distributions or layer.python_path
        async with it.sandbox(layer, files) as hands:
            assert (await hands.shell(use)).output == b"hello from pip\n" * 2


@pytest.mark.long
async def test_new_files_beside_the_inputs_are_there_and_what_was_changed_stays_as_given(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as it:
        files = {"src/pkg/__init__.py": "", "config.txt": "given", "gone.txt": "given"}
        command = (
            "echo made > src/pkg/_version.py; echo changed > config.txt; rm gone.txt; ln -s /etc/passwd leak; "
            "mkdir -p src/pkg/__pycache__; echo x > src/pkg/__pycache__/x.pyc"
        )
        layer = await it.set_up(command, files)
        assert [mount.path for mount in layer.mounts] == ["/workspace/src/pkg/_version.py"]
        assert layer.notes == (
            "the setup adds src/pkg/_version.py: read-only for the agent and the verifiers",
            "what the setup changed stays as it was given: config.txt, gone.txt",
            "links that the setup made beside the input's files are left out: leak",
        )
        async with it.sandbox(layer, files) as hands:
            assert (await hands.shell("cat src/pkg/_version.py config.txt")).output == b"made\ngiven"
            assert (await hands.shell("echo x > src/pkg/_version.py")).exit_code != 0
            assert (await hands.shell("echo x > src/pkg/new.py && cat src/pkg/new.py")).output == b"x\n"


@pytest.mark.long
async def test_a_link_in_what_was_added_leads_nowhere_on_the_host(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        (tmp_path / "secret").write_text("of the host")
        layer = await it.set_up(f"mkdir new; ln -s {tmp_path}/secret new/leak; ln -s / new/root", {"a": ""})
        async with it.sandbox(layer, {"a": ""}) as hands:
            assert b"of the host" not in (await hands.shell("cat new/leak; ls new/root")).output


@pytest.mark.long
async def test_a_setup_that_fails_says_what_it_said_and_is_not_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        for _ in range(2):
            with pytest.raises(SandboxUnavailable) as failure:
                await it.set_up("echo about to fail; exit 3", {"a": ""})
            assert "ended with exit code 3" in failure.value.message
            assert "about to fail" in failure.value.message
            assert "Nothing was spent" in failure.value.message


@pytest.mark.long
async def test_it_reaches_the_registries_alone_and_has_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_TESTS_SECRET", "s3cr3t-of-the-server")
    async with world(tmp_path) as it:
        reach = "import urllib.request; urllib.request.urlopen('http://elsewhere.test/', timeout=5)"
        layer = await it.set_up(
            f'mkdir out; env > out/env; python3 -c "{reach}" && echo reached > out/reached; true', {"a": ""}
        )
        async with it.sandbox(layer, {"a": ""}) as hands:
            said = (await hands.shell("ls out; cat out/env")).output
            assert b"s3cr3t-of-the-server" not in said
            assert b"reached" not in said.splitlines()


@pytest.mark.long
async def test_where_sandboxes_have_no_network_of_their_own_a_setup_is_refused(tmp_path: Path) -> None:
    clock = SystemClock()
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with LocalProvider(tmp_path / "run", blobs, Ids(clock)) as provider:
        layers = SetupLayers(
            provider=provider,
            layers=KeptLayers(blobs=kept(blobs), catalog=MemoryCatalog(clock), clock=clock),
            blobs=kept(blobs),
            ids=Ids(clock),
            pip_index_url="https://pypi.org/simple",
            npm_registry="https://registry.npmjs.org/",
        )
        with pytest.raises(SandboxUnavailable, match="no network of their own"):
            await layers.layer(ONE, "remit_1", SetupRequest(command="true", tree_digest="x", variables={}))
