"""The manifest and the tests say the same, in both directions; every method is served or refused by name."""

from __future__ import annotations

from typing import get_args

from anthropic import AsyncAnthropic
from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent

from parity.manifest import refused_methods, served_methods
from parity.proofs import proofs
from parity.requirements import EVENTS_REFUSED, PARTLY, event_types, requirements
from parity.routes import routes
from remit.schema.events import EventType
from remit.server.description.refused import endpoints


def test_every_requirement_is_proved_and_every_proof_names_one() -> None:
    known, proved = set(requirements(routes())), set(proofs())
    assert proved - known == set(), "tests name requirements that are not in tests/parity/requirements.py"
    assert known - proved == set(), (
        "no test carries these: add @pytest.mark.requirement(id) where it is shown"
    )


def test_every_method_of_the_sdk_is_either_served_or_refused_by_name() -> None:
    served, refused = served_methods(routes()), refused_methods(routes())
    assert served & refused == set()
    assert {one.method for one in endpoints()} == served | refused
    assert sum(one.tier == "core" for one in endpoints()) > 100


def test_names_that_the_server_knows_are_those_of_the_sdk() -> None:
    client = AsyncAnthropic(api_key="none")
    for one in endpoints():
        found: object = client
        for name in one.method.split(".")[1:]:
            found = getattr(found, name)
        assert callable(found), one.method


def test_every_event_type_of_the_sdk_can_be_asked_for_in_lists() -> None:
    persisted = {
        get_args(member.model_fields["type"].annotation)[0]
        for member in get_args(get_args(BetaManagedAgentsSessionEvent)[0])
    }
    assert persisted <= set(get_args(EventType))
    assert set(event_types()) - persisted == {"event_start", "event_delta"}


def test_what_the_manifest_says_in_words_is_about_things_that_exist() -> None:
    assert set(PARTLY) <= served_methods(routes()), "what is not served cannot lack a part"
    assert set(EVENTS_REFUSED) <= set(event_types())
