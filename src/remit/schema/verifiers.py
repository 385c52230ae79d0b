"""Verifiers as they are asked for: by an outcome of a session or of a remit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from remit.schema.wire import TOOL_NAME, JsonMap, ModelId, Params, whole

VERIFIERS_MAX = 16
RUBRIC_LENGTH_MAX = 262_144
TIMEOUT_SECONDS_DEFAULT = 600
TIMEOUT_SECONDS_MAX = 3_600

Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Globs = Annotated[list[Glob], msgspec.Meta(max_length=64)]
RubricText = Annotated[str, msgspec.Meta(min_length=1, max_length=RUBRIC_LENGTH_MAX)]


class CommandVerifier(Params, frozen=True, tag="command"):
    """Passes when the command exits with 0 in a fresh sandbox."""

    command: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=TIMEOUT_SECONDS_MAX)] = TIMEOUT_SECONDS_DEFAULT
    protect: Globs = msgspec.field(default_factory=list[str])
    unprotect: Globs = msgspec.field(default_factory=list[str])
    work: Globs = msgspec.field(default_factory=list[str])
    """What the agent may change: given, everything else is protected."""
    isolate: bool = False
    """Run the work in a sandbox of its own, reached as a program."""


class RubricVerifier(Params, frozen=True, tag="rubric", omit_defaults=True):
    """Passes when a model, in its own context, finds the rubric fulfilled."""

    rubric: RubricText
    model: ModelId | None = None


class CustomVerifier(Params, frozen=True, tag="custom"):
    """Passes when a verifier says so that whoever runs this platform gave to it (docs/extending.md)."""

    name: Annotated[str, whole(TOOL_NAME)]
    config: JsonMap = msgspec.field(default_factory=JsonMap)
    """What that verifier takes."""


VerifierParams = CommandVerifier | RubricVerifier | CustomVerifier
VerifierList = Annotated[list[VerifierParams], msgspec.Meta(min_length=1, max_length=VERIFIERS_MAX)]


def verifier_name(verifier: Mapping[str, object]) -> str:
    """Return the name of the `Verifier` that this specification asks for: its type, or what a custom one is called."""
    return str(verifier["name"] if verifier.get("type") == "custom" else verifier.get("type"))
