"""The folder that holds the weights: what stands there under a model's name has been verified."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO

from remit.errors import ModelInstallFailed
from remit.models.local.catalogue import CATALOGUE, LocalModel

HASH_PIECE_BYTES = 1 << 22
LOCK_FILE = ".lock"


class ModelFolder:
    """The folder of local models; several processes may use it at once."""

    def __init__(self, folder: Path, *, catalogue: Sequence[LocalModel] = CATALOGUE) -> None:
        self.folder = folder
        self.catalogue = tuple(catalogue)

    def known(self, name: str) -> LocalModel | None:
        """The model of the catalogue with this name, given with or without `local/`."""
        bare = name.removeprefix("local/")
        return next((model for model in self.catalogue if model.name == bare), None)

    def path(self, model: LocalModel) -> Path:
        """Return the path of the model once it is installed."""
        return self.folder / model.file_name

    def is_installed(self, model: LocalModel) -> bool:
        """Return whether the model is installed, whole."""
        try:
            return self.path(model).stat().st_size == model.size_bytes
        except FileNotFoundError:
            return False

    def installed(self) -> list[LocalModel]:
        """Every model that can be used now."""
        return [model for model in self.catalogue if self.is_installed(model)]

    def partial_path(self, model: LocalModel) -> Path:
        """Return the path of an installation that is not finished."""
        return self.folder / f".{model.file_name}.partial"

    def partial_bytes(self, model: LocalModel) -> int:
        """Return the size in bytes of what an earlier installation has left behind."""
        try:
            return self.partial_path(model).stat().st_size
        except FileNotFoundError:
            return 0

    def remove(self, model: LocalModel) -> int:
        """Remove the weights and what an unfinished installation left; the bytes that are free again."""
        with self.locked():
            freed = 0
            for path in (self.path(model), self.partial_path(model)):
                with contextlib.suppress(FileNotFoundError):
                    freed += path.stat().st_size
                    path.unlink()
            return freed

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Lock the folder for one installation or removal. Raises ModelInstallFailed."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ModelInstallFailed(
                    f"another process is installing or removing a model in {str(self.folder)!r}; wait for its end"
                ) from error
            yield
        finally:
            os.close(descriptor)


class PartialFile:
    """The beginning of a model's file, as far as it has come; it grows at its end only."""

    def __init__(self, folder: ModelFolder, model: LocalModel) -> None:
        self._model = model
        self._path = folder.partial_path(model)
        self._final = folder.path(model)
        self._file: BinaryIO = self._path.open("ab")
        self.size = self._path.stat().st_size
        if self.size > model.size_bytes:
            self.restart()

    def write(self, piece: bytes) -> None:
        """Append. What is more than the model has is refused by its size at the end."""
        self._file.write(piece)
        self.size += len(piece)

    def restart(self) -> None:
        """Forget what is there."""
        self._file.truncate(0)
        self.size = 0

    def is_right(self) -> bool:
        """Return whether the file is the model, byte for byte. Reads the whole file."""
        self._file.flush()
        if self.size != self._model.size_bytes:
            return False
        digest = hashlib.sha256()
        with self._path.open("rb") as written:
            while piece := written.read(HASH_PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest() == self._model.sha256

    def publish(self) -> None:
        """Make it visible, durably and at once."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.replace(self._final)
        folder = os.open(self._final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Keep what is there for the next time."""
        self._file.close()
