"""The page that says what official clients find here: made from the manifest, compared with it by a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from parity.own_fields import OWN_FIELDS
from parity.requirements import (
    BEHAVIOURS,
    OWN_EVENTS,
    Requirement,
    Status,
    event_id,
    event_types,
    requirements,
)
from parity.routes import operations, routes
from remit.server.description.refused import endpoints, operation_keys

WORDS: dict[Status, str] = {
    "served": "served",
    "partly": "partly",
    "refused": "refused by name",
}

INTRODUCTION = """\
# Compatibility

What the official `anthropic` SDKs find when their base URL is a Remit: Python 2.12 and its older wire generation
(0.121), TypeScript 1.12. This page is made by `scripts/make_compatibility.py` from `tests/parity/requirements.py` and
the routes there are; each line of it is proved by a test that names it, and a test compares the page with what the
script makes.

- **served**: the test suite calls it with the SDK and compares every field of the answer with the SDK's own types.
- **partly**: served; the part that is missing is refused by the name of its field.
- **refused by name**: a 400 whose message names the method, with `error_code` `not_supported` and
  `x-should-retry: false`, so that a program fails at the line that asks for it.

Methods that this page does not name answer 404.
"""


def compatibility_page() -> str:
    """All of docs/compatibility.md."""
    known = requirements(routes())
    by_tier = {
        tier: [known[one.method] for one in endpoints() if one.tier == tier] for tier in ("core", "admin")
    }
    events = [known[event_id(type)] for type in event_types()]
    parts = [
        INTRODUCTION,
        _counts([*by_tier.items(), ("events", events)]),
        "## Methods of the platform\n\n" + _method_table(by_tier["core"]),
        "## Methods of organizations, batches, dreams, profiles\n\n" + _method_table(by_tier["admin"]),
        "## Session events\n\n" + _event_table(events),
        "## Behaviour\n\n" + _behaviour_table(BEHAVIOURS),
        "## Remit's own\n\n" + _own(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _counts(groups: Iterable[tuple[str, Sequence[Requirement]]]) -> str:
    names = {
        "core": "methods of the platform",
        "admin": "other methods that the SDK has and Remit knows by name",
        "events": "event types",
    }
    lines = ["| | all | served | partly | refused by name |", "|---|---|---|---|---|"]
    for group, members in groups:
        counts = Counter(one.status for one in members)
        numbers = " | ".join(str(counts[status]) for status in WORDS)
        lines.append(f"| {names[group]} | {len(members)} | {numbers} |")
    return "\n".join(lines) + "\n"


def _method_table(members: Sequence[Requirement]) -> str:
    rows = (f"| `{one.id}` | `{one.behaviour}` | {_status(one)} |" for one in members)
    return "\n".join(["| method | call | |", "|---|---|---|", *rows]) + "\n"


def _event_table(members: Sequence[Requirement]) -> str:
    rows = (f"| `{one.id.removeprefix('event ')}` | {_status(one)} |" for one in members)
    return "\n".join(["| event | |", "|---|---|", *rows]) + "\n"


def _behaviour_table(members: Sequence[Requirement]) -> str:
    rows = (f"| {one.behaviour} | {one.source} |" for one in members)
    return "\n".join(["| what | asked for by |", "|---|---|", *rows]) + "\n"


def _status(one: Requirement) -> str:
    return f"{WORDS[one.status]}: {one.note}" if one.note else WORDS[one.status]


def _own() -> str:
    wire = {one.key for one in endpoints()}
    own = sorted(
        (operation.plain_path, method)
        for operation in operations()
        for method, shape in operation_keys(operation)
        if (method, shape) not in wire and method != "PATCH"
    )
    fields = ", ".join(
        f"`{field}` of `{model}`" for model, names in sorted(OWN_FIELDS.items()) for field in sorted(names)
    )
    events = ", ".join(f"`{type}`" for type in sorted(OWN_EVENTS))
    calls = "\n".join(f"- `{method} {path}`" for path, method in own)
    return (
        f"Events beside the wire's: {events}. Fields beside the wire's: {fields}. [events.md](events.md) explains them.\n\n"
        f"Calls beside the wire's ([api.md](api.md)):\n\n{calls}\n"
    )
