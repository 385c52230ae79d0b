"""Baselines of commands on the untouched input: kept as blobs, and what every later run is compared with."""

from __future__ import annotations

import hashlib

import msgspec

from remit.errors import BlobMissing
from remit.interfaces import BlobReader
from remit.values import Value
from remit.verifiers.protected import Protection
from remit.verifiers.reports import RunReport, unpack_report


class Baseline(Value, frozen=True, kw_only=True):
    """One command on one input, before any work."""

    key: str
    """Of what it was taken: see `baseline_key`."""
    exit_code: int | None
    opened: tuple[str, ...] = ()
    """Files of the input that were opened."""
    rewrites: tuple[str, ...] = ()
    """Files of the input that the command itself writes, moves or removes."""
    created: tuple[str, ...] = ()
    """What it makes beside them."""
    packed_report: bytes | None = None
    """Which cases ran, where a runner told; see `report`."""
    protection: Protection
    """What the work may not change, from what was opened."""

    @property
    def report(self) -> RunReport | None:
        """Return what runners told of their cases. Raises ValueError for bytes that are no report."""
        return unpack_report(self.packed_report) if self.packed_report is not None else None

    def encode(self) -> bytes:
        """The bytes that are stored as a blob."""
        return msgspec.json.encode(self)


def baseline_key(specification: object, input_tree_digest: str | None, outcome: str) -> str:
    """Return the key of a baseline; one of another command, input or outcome is not taken."""
    made_of = [msgspec.to_builtins(specification), input_tree_digest, outcome]
    return hashlib.sha256(msgspec.json.encode(made_of)).hexdigest()


async def load_baseline(blobs: BlobReader, digest: str) -> Baseline:
    """Read a stored baseline. Raises BlobMissing."""
    try:
        return msgspec.json.decode(await blobs.read(digest), type=Baseline)
    except msgspec.DecodeError as error:
        raise BlobMissing(
            f"blob {digest!r} is no baseline of a verifier, so the work cannot be verified."
        ) from error
