"""Packages of an environment: installed once per list and image in a sandbox that reaches only the registries, kept as
a tree of blobs, mounted read-only in every sandbox that needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from remit.catalog.owned_blobs import BlobPuts
from remit.errors import SandboxLost, SandboxRefused, SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import Sandbox, SandboxProvider
from remit.orchestrator.kept_layers import KeptLayers, Layer
from remit.orchestrator.stored_files import store_files
from remit.values import ExecRequest, ImageInfo, NetworkPolicy, Principal, SandboxSpec

LAYOUT = 1
"""Raised when what stands where in a layer changes: layers of before are not used then."""
INSTALL_SECONDS = 900.0
LAYER_BYTES_MAX = 4 << 30
OUTPUT_CHARACTERS_MAX = 2_000
_EPOCH = 0
_ROOT = "/workspace"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
Packages = Mapping[str, Sequence[str]]


class PackageInstaller:
    """Makes layers, each once per workspace."""

    def __init__(
        self,
        *,
        provider: SandboxProvider,
        layers: KeptLayers,
        ids: Ids,
        pip_index_url: str,
        npm_registry: str,
    ) -> None:
        self._provider = provider
        self._layers = layers
        self._ids = ids
        self._pip_index_url = pip_index_url
        self._npm_registry = npm_registry

    async def layer(
        self, principal: Principal, owner_id: str, packages: Packages, toolchains: Sequence[str]
    ) -> Layer:
        """The layer with these packages, installed now if need be (minutes); it stays as long as this stream, or another
        one that asked for it. Raises SandboxUnavailable that says what the installer said."""
        wanted, image, made_of = await self._planned(packages, toolchains)
        if "limited" not in self._provider.capabilities().network_modes:
            raise SandboxUnavailable(
                "the environment names packages, and these sandboxes have no network of their own to install them through"
            )
        if "npm" in wanted and "npm" not in image.programs:
            raise SandboxUnavailable(
                "the environment names npm packages, and npm is not installed on this machine"
            )
        return await self._layers.layer(
            principal,
            owner_id,
            made_of,
            lambda puts: self._install(puts, wanted, toolchains, image.digest),
        )

    async def has(self, principal: Principal, packages: Packages, toolchains: Sequence[str]) -> bool:
        """Return whether the layer is there, so that asking for it takes no time."""
        _, _, made_of = await self._planned(packages, toolchains)
        return await self._layers.has(principal, made_of)

    async def _planned(
        self, packages: Packages, toolchains: Sequence[str]
    ) -> tuple[dict[str, list[str]], ImageInfo, list[object]]:
        """What is wanted, the image for it, and what the layer is made of."""
        image = await self._provider.image(toolchains)
        wanted = {source: sorted(names) for source, names in sorted(packages.items())}
        # Another registry may have other packages under these names.
        return wanted, image, [LAYOUT, wanted, image.digest, self._pip_index_url, self._npm_registry]

    async def _install(
        self,
        puts: BlobPuts,
        packages: dict[str, list[str]],
        toolchains: Sequence[str],
        image_digest: str,
    ) -> Layer:
        sandbox = await self._provider.create(
            SandboxSpec(
                key=self._ids.new("install"),
                epoch=_EPOCH,
                toolchains=tuple(toolchains),
                network=NetworkPolicy(mode="limited", has_registries=True),
            )
        )
        try:
            for source, names in packages.items():
                await self._run(sandbox, source, names)
            tree = await sandbox.tree(_ROOT)
            size = sum(entry.size for entry in tree.entries)
            if size > LAYER_BYTES_MAX:
                raise SandboxUnavailable(
                    f"the environment's packages take {size >> 20} MiB; at most {LAYER_BYTES_MAX >> 20} MiB can be kept"
                )
            files = {entry.path: entry.sha256 for entry in tree.entries if entry.sha256 is not None}
            await store_files(puts, sandbox, _ROOT, list(files))
            await puts.need(files.values())
        except (SandboxLost, SandboxRefused) as error:
            raise SandboxUnavailable(
                f"the environment's packages were not installed: {error.message}"
            ) from error
        finally:
            await asyncio.shield(sandbox.destroy())
        return Layer(
            tree_digest=await puts.put(tree.encode()),
            packages=packages,
            image_digest=image_digest,
            files=len(tree.entries),
            bytes=size,
        )

    async def _run(self, sandbox: Sandbox, source: str, names: Sequence[str]) -> None:
        ended = await sandbox.exec(
            ExecRequest(
                call_id=self._ids.new("install"),
                epoch=_EPOCH,
                argv=self._command(source, names),
                environment={
                    "INDEX": self._pip_index_url,
                    "REGISTRY": self._npm_registry,
                    **registry_variables(self._pip_index_url, self._npm_registry, cache=f"{_ROOT}/.scratch"),
                },
                working_directory=_ROOT,
                timeout_seconds=INSTALL_SECONDS,
            )
        )
        if ended.exit_code == 0:
            return
        how = "took too long" if ended.is_timed_out else "failed"
        said = ended.output.decode("utf-8", "replace").strip()[-OUTPUT_CHARACTERS_MAX:]
        raise SandboxUnavailable(
            f"installing the environment's {source} packages ({', '.join(names)}) {how}. Mend config.packages and start a "
            f"new session. {source} said: {said}"
        )

    def _command(self, source: str, names: Sequence[str]) -> tuple[str, ...]:
        if source == "pip":
            install = 'python3 -m pip install --no-input --no-cache-dir --target python --index-url "$INDEX" -- "$@"'
        else:
            install = (
                'npm install --no-audit --no-fund --no-save --prefix node --registry "$REGISTRY" -- "$@"'
            )
        # Its scratch is in the working tree: /tmp is small.
        script = f"set -e; export TMPDIR=$PWD/.scratch; mkdir -p $TMPDIR node; {install}; rm -rf $TMPDIR"
        return ("bash", "--norc", "--noprofile", "-c", script, "install", *names)


def registry_variables(pip_index_url: str, npm_registry: str, *, cache: str) -> dict[str, str]:
    """Return the variables by which installers use these registries, with no question and no settings."""
    index = urlsplit(pip_index_url)
    return {
        "PIP_INDEX_URL": pip_index_url,
        # Without TLS only because the operator's setting says so.
        "PIP_TRUSTED_HOST": index.netloc if index.scheme == "http" else "",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_CERT": _CERTIFICATES,
        "NODE_EXTRA_CA_CERTS": _CERTIFICATES,
        "npm_config_registry": npm_registry,
        "npm_config_cache": f"{cache}/npm",
        "npm_config_update_notifier": "false",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
    }
