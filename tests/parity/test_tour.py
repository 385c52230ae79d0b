"""Everything that is served, called with the official SDK: each field of each answer and event is as its types say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from parity.conftest import TourResult
from parity.manifest import served_methods
from parity.own_fields import NOT_ON_TOUR, OWN_FIELDS
from parity.requirements import (
    EVENTS_REFUSED,
    OWN_EVENTS,
    event_id,
    event_types,
)
from parity.routes import routes
from remit.server.description.refused import endpoints

DOCS = Path(__file__).parent.parent.parent / "docs"

SERVED = sorted(served_methods(routes()) & {one.method for one in endpoints() if one.tier == "core"})
SHOWN = sorted(set(event_types()) - set(EVENTS_REFUSED))


@pytest.mark.requirement("sdk python 2.12")
@pytest.mark.requirement("sdk fields")
@pytest.mark.parametrize(
    "method", [pytest.param(one, marks=pytest.mark.requirement(one), id=one) for one in SERVED]
)
def test_served_method_answers_with_exactly_the_fields_of_the_sdks_types(
    tour: TourResult, method: str
) -> None:
    assert method in tour.called, "tests/parity/tour.py does not call it"
    assert tour.findings[method] == []


@pytest.mark.parametrize(
    "type", [pytest.param(one, marks=pytest.mark.requirement(event_id(one)), id=one) for one in SHOWN]
)
def test_event_occurs_in_a_session(tour: TourResult, type: str) -> None:
    assert type in tour.streamed_types | tour.listed_types


def test_no_event_occurs_that_the_manifest_does_not_know(tour: TourResult) -> None:
    assert (tour.streamed_types | tour.listed_types) - set(SHOWN) - OWN_EVENTS == set()


def test_every_field_of_our_own_is_used_and_documented(tour: TourResult) -> None:
    own = {(model, field) for model, fields in OWN_FIELDS.items() for field in fields}
    assert tour.own_fields_seen == own - NOT_ON_TOUR
    text = (DOCS / "events.md").read_text()
    assert [field for _, field in sorted(own) if f"`{field}`" not in text] == []


@pytest.mark.requirement("events usage")
def test_every_idle_is_preceded_at_once_by_the_usage(tour: TourResult) -> None:
    idles = 0
    for history in tour.histories:
        for before, event in pairwise(history):
            if event["type"] == "session.status_idle":
                assert before["type"] == "session.usage"
                idles += 1
    assert idles > 5


@pytest.mark.requirement("events times")
def test_processed_at_never_goes_back(tour: TourResult) -> None:
    for history in tour.histories:
        times = [_time(event) for event in history if event["processed_at"]]
        assert times == sorted(times)


@pytest.mark.requirement("events spans")
def test_every_model_request_that_starts_ends(tour: TourResult) -> None:
    started, ended = set[str](), set[str]()
    for history in tour.histories:
        started |= {event["id"] for event in history if event["type"] == "span.model_request_start"}
        ended |= {
            event["model_request_start_id"] for event in history if event["type"] == "span.model_request_end"
        }
    assert started == ended
    assert len(started) > 10


def _time(event: Any) -> tuple[str, str]:
    """Comparable as text: whole seconds first, then the fraction."""
    seconds, _, fraction = event["processed_at"].removesuffix("Z").partition(".")
    return seconds, fraction.ljust(6, "0")
