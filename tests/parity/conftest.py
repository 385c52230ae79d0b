"""One tour for all tests of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from parity.compare import Comparison
from parity.own_fields import FIELDS_OF_TWINS, OWN_FIELDS
from parity.tour import make_tour


@dataclass(frozen=True)
class TourResult:
    """What the tour called and what came of it."""

    called: frozenset[str]
    findings: dict[str, list[str]]
    own_fields_seen: frozenset[tuple[str, str]]
    listed_types: frozenset[str]
    streamed_types: frozenset[str]
    histories: tuple[list[Any], ...]
    """The events of each session as the last list showed them."""


@pytest.fixture(scope="session")
def tour(tmp_path_factory: pytest.TempPathFactory) -> TourResult:
    recorder = anyio.run(make_tour, tmp_path_factory.mktemp("tour"))
    comparison = Comparison({**OWN_FIELDS, **FIELDS_OF_TWINS})
    findings = recorder.findings(comparison)
    types = recorder.event_types()
    return TourResult(
        called=frozenset(recorder.called),
        findings=findings,
        own_fields_seen=frozenset(one for one in comparison.own_seen if one[0] in OWN_FIELDS),
        listed_types=frozenset(types["list"]),
        streamed_types=frozenset(types["stream"]),
        histories=recorder.histories(),
    )
