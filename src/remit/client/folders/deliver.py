"""Writing a finished remit's result to a folder: changed files, patch, bundle, receipt."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from remit.client.calls import InLoop
from remit.client.folders.changes import CHANGED_FILES, FileChange, changes_of, download, strays_of, unpack
from remit.client.resources import Everything
from remit.errors import BadInput, LocalFailure

FILES = "files"
RECEIPT = "receipt.json"
ID_TAIL = 8


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A result that was written: the folder, its changes, and what was left out."""

    folder: Path
    changes: tuple[FileChange, ...]
    names: tuple[str, ...]
    """What is in the folder."""
    strays: tuple[str, ...] = ()
    """What was not written, see `strays_of`."""


def short_id(remit_id: str) -> str:
    """Enough of an id to tell a person's remits apart; the end is the random part."""
    return remit_id[-ID_TAIL:]


def check_out(folder: Path | None, input_folder: Path | None, remit_id: str | None = None) -> None:
    """Refuse, before anything is spent, an --out that could not be written at the end. A remit that is resumed may
    find its own result there: its process died after writing it."""
    if folder is None:
        return
    is_own = remit_id is not None and _remit_of(folder / RECEIPT) == remit_id
    if folder.exists() and not is_own and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"--out {str(folder)!r} exists and is not an empty folder.", mend="Name a new folder.")
    if input_folder is not None and folder.resolve().is_relative_to(input_folder.resolve()):
        raise BadInput(
            f"--out {str(folder)!r} lies inside the input, and the input is never written to.",
            mend="Name a folder beside it, or leave --out away and use `remit apply`.",
        )
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise BadInput(f"--out {str(folder)!r} cannot be written to.", mend="Name a folder that can.")


def default_out(remit_id: str, input_folder: Path | None) -> Path:
    """`./remit-<short id>`; beside the input where the current folder is the input, which is never written to."""
    here = Path.cwd()
    if input_folder is not None and here.is_relative_to(input_folder.resolve()):
        here = input_folder.resolve().parent
    return here / f"remit-{short_id(remit_id)}"


async def deliver(client: Everything[InLoop], remit_id: str, folder: Path) -> Delivered:
    """Write the result into a new folder, which appears whole or not at all. A folder that holds this remit's own
    result is replaced; any other is refused. The path must be absolute."""
    listing = await client.remits.deliverables(remit_id)
    receipt = await client.remits.receipt(remit_id)
    changes = changes_of(listing)
    names = [str(entry["name"]) for entry in listing["data"]]
    if any("/" in name or name in {"", ".", "..", FILES, RECEIPT} for name in names):
        raise LocalFailure("The result has a file with an unusable name; nothing was written.")
    _check_free(folder, remit_id)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            staging = Path(temporary) / "result"
            (staging / FILES).mkdir(parents=True)
            for name in names:
                await download(client, remit_id, name, staging / name)
            if CHANGED_FILES in names:
                unpack(staging / CHANGED_FILES, changes, staging / FILES)
                (staging / CHANGED_FILES).unlink()
            encoded = msgspec.json.format(msgspec.json.encode(receipt), indent=2)
            (staging / RECEIPT).write_bytes(encoded + b"\n")
            written = _names_in(staging)
            _replace(folder, staging)
    except OSError as error:
        raise LocalFailure(
            f"The result could not be written to {str(folder)!r}: {error.strerror}.",
            mend=f"It is kept: `remit do --resume {remit_id} --out DIR` writes it elsewhere.",
        ) from error
    return Delivered(folder=folder, changes=changes, names=written, strays=strays_of(listing))


def _names_in(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir()))


def _replace(folder: Path, staging: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    staging.rename(folder)


def _check_free(folder: Path, remit_id: str) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if _remit_of(folder / RECEIPT) != remit_id:
        raise LocalFailure(
            f"The result was not written: {str(folder)!r} exists and is not this remit's.",
            mend=f"It is kept: `remit do --resume {remit_id} --out DIR` writes it elsewhere.",
        )


def _remit_of(receipt: Path) -> str | None:
    try:
        stored = msgspec.json.decode(receipt.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError):
        return None
    return str(stored.get("remit_id"))
