"""A pytest plugin that writes down which test proves which requirement: `-p parity.proofs`, into `REMIT_PROOFS`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """After collecting, before anything runs."""
    proofs: dict[str, list[str]] = {}
    for item in session.items:
        for mark in item.iter_markers("requirement"):
            proofs.setdefault(mark.args[0], []).append(item.nodeid)
    Path(os.environ["REMIT_PROOFS"]).write_text(json.dumps(proofs))
