"""All that `remit model` needs of local models, in one object."""

from __future__ import annotations

from pathlib import Path

from remit.models.local.catalogue import LocalModel
from remit.models.local.folder import ModelFolder
from remit.models.local.install import (
    RUNTIME_MEND,
    RUNTIME_REQUIREMENT,
    RUNTIME_SIZE_BYTES,
    Report,
    has_runtime,
    install_model,
    install_runtime,
)
from remit.models.local.sources import NetworkSources


class InstalledModels:
    """A folder of models and the sources that fill it."""

    runtime_requirement = RUNTIME_REQUIREMENT
    runtime_size_bytes = RUNTIME_SIZE_BYTES
    runtime_mend = RUNTIME_MEND

    def __init__(self, folder: ModelFolder, sources: NetworkSources) -> None:
        self.folder = folder
        self._sources = sources

    async def install(self, model: LocalModel, *, only_source: str | None, report: Report) -> Path:
        """See `install.install_model`."""
        return await install_model(model, self.folder, self._sources, only_source=only_source, report=report)

    def has_runtime(self) -> bool:
        """See `install.has_runtime`."""
        return has_runtime()

    async def install_runtime(self) -> None:
        """See `install.install_runtime`."""
        await install_runtime()
