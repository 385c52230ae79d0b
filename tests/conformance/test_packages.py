"""Packages of an environment: installed once through registries that are ours, then there read-only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.errors import SandboxUnavailable
from remit.ids import Ids
from remit.orchestrator.kept_layers import KeptLayers
from remit.orchestrator.packages import PackageInstaller
from remit.orchestrator.surroundings import package_mounts, search_path, variables
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.stores.memory import MemoryCatalog
from remit.testing.sandbox_checks.given import Hands
from remit.values import Principal, SandboxSpec
from support.kept import kept
from support.package_registry import Registry, serving

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
TWO = Principal(workspace_id="wrkspc_two", actor="apikey_two")


class World:
    def __init__(
        self,
        provider: BubblewrapProvider,
        installer: PackageInstaller,
        layers: KeptLayers,
        registry: Registry,
        catalog: MemoryCatalog,
        base: str,
    ) -> None:
        self.provider = provider
        self.installer = installer
        self.layers = layers
        self.registry = registry
        self.catalog = catalog
        self.base = base


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncGenerator[World]:
    async with serving() as (registry, place, base):
        egress = ProxiedEgress(EgressSettings(registries=(place.partition(":")[0],), private_hosts=(place,)))
        clock = SystemClock()
        ids, blobs, catalog = Ids(clock), DirectoryBlobStore(folder / "blobs"), MemoryCatalog(clock)
        try:
            async with BubblewrapProvider(folder / "run", blobs, ids, egress=egress) as provider:
                layers = KeptLayers(blobs=kept(blobs, catalog), catalog=catalog, clock=clock)
                installer = PackageInstaller(
                    provider=provider,
                    layers=layers,
                    ids=ids,
                    pip_index_url=f"{base}/simple",
                    npm_registry=f"{base}/",
                )
                yield World(provider, installer, layers, registry, catalog, base)
        finally:
            await egress.close()


async def test_packages_are_installed_once_and_are_there_read_only_without_a_network(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        packages = {"pip": ["greeting==1.0"]}
        has_npm = "npm" in (await it.provider.image()).programs
        if has_npm:
            packages["npm"] = ["salute@2.0.0"]
        layer, again = await asyncio.gather(
            it.installer.layer(ONE, "sesn_1", packages, ()), it.installer.layer(ONE, "sesn_2", packages, ())
        )
        assert layer == again
        assert it.registry.asked.count("/files/greeting-1.0-py3-none-any.whl") == 1
        other = await it.installer.layer(TWO, "sesn_3", packages, ())
        assert it.registry.asked.count("/files/greeting-1.0-py3-none-any.whl") == 2  # nothing is shared
        assert other.packages == layer.packages

        sandbox = await it.provider.create(
            SandboxSpec(
                key="k",
                epoch=1,
                mounts=package_mounts(layer.tree_digest),
                environment=variables({}, layer.tree_digest),
                path=search_path(layer.tree_digest),
            )
        )
        hands = Hands(sandbox)
        assert (await hands.shell("greet; python3 -c 'import greeting; greeting.hello()'")).output == (
            b"hello from pip\n" * 2
        )
        if has_npm:
            ran = await hands.shell("salute; node -e \"require('salute')()\"")
            assert ran.output == b"hello from npm\n" * 2
        assert (await hands.shell("touch /mnt/packages/python/x")).exit_code != 0
        await sandbox.destroy()


@pytest.mark.long
async def test_a_spiteful_package_gets_nothing_and_harms_only_its_own_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_TESTS_SECRET", "s3cr3t-of-the-server")
    async with world(tmp_path) as it:
        if "npm" not in (await it.provider.image()).programs:
            pytest.skip("npm is not installed")
        spiteful = await it.installer.layer(ONE, "sesn_1", {"npm": ["spiteful@1.0.0"]}, ())
        good = await it.installer.layer(ONE, "sesn_1", {"npm": ["salute@2.0.0"]}, ())
        assert b"spite" not in await DirectoryBlobStore(tmp_path / "blobs").read(good.tree_digest)
        sandbox = await it.provider.create(
            SandboxSpec(key="k", epoch=1, mounts=package_mounts(spiteful.tree_digest))
        )
        hands = Hands(sandbox)
        inside = "cd /mnt/packages/node/node_modules/spiteful"
        said = (await hands.shell(f"{inside}; cat said; ls")).output.decode()
        assert "s3cr3t-of-the-server" not in said
        assert "reached" not in said.splitlines()
        mode = (await hands.shell(f"{inside}; stat -c %a root; sh ./root")).output.decode().split()
        assert mode[0] in ("755", "555")  # no setuid bit is kept
        assert "0" not in mode[1:]
        links = (await hands.shell(f"{inside}; cat shadow; ls up/")).output.decode()
        assert "root:" not in links  # a link leads nowhere but inside
        await sandbox.destroy()


@pytest.mark.long
async def test_another_registry_means_other_packages(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        first = await it.installer.layer(ONE, "sesn_1", {"pip": ["greeting==1.0"]}, ())
        moved = PackageInstaller(
            provider=it.provider,
            layers=it.layers,
            ids=Ids(SystemClock()),
            pip_index_url=f"{it.base}/other",
            npm_registry=f"{it.base}/",
        )
        with pytest.raises(SandboxUnavailable, match="No matching distribution"):
            await moved.layer(ONE, "sesn_1", {"pip": ["greeting==1.0"]}, ())
        assert await it.installer.layer(ONE, "sesn_1", {"pip": ["greeting==1.0"]}, ()) == first


@pytest.mark.long
async def test_a_package_that_does_not_exist_is_told_with_what_the_installer_said(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        with pytest.raises(SandboxUnavailable) as failure:
            await it.installer.layer(ONE, "sesn_1", {"pip": ["nowhere"]}, ())
        assert "No matching distribution found for nowhere" in failure.value.message
        assert "config.packages" in failure.value.message


@pytest.mark.long
async def test_where_sandboxes_have_no_network_of_their_own_packages_are_refused(tmp_path: Path) -> None:
    clock = SystemClock()
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with LocalProvider(tmp_path / "run", blobs, Ids(clock)) as provider:
        installer = PackageInstaller(
            provider=provider,
            layers=KeptLayers(blobs=kept(blobs), catalog=MemoryCatalog(clock), clock=clock),
            ids=Ids(clock),
            pip_index_url="https://pypi.org/simple",
            npm_registry="https://registry.npmjs.org/",
        )
        with pytest.raises(SandboxUnavailable, match="no network of their own"):
            await installer.layer(ONE, "sesn_1", {"pip": ["six"]}, ())
