"""Outcomes that come in: their verifiers are looked at before anything is stored or spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from remit.errors import VerifierUnavailable
from remit.interfaces import Verifier
from remit.schema.verifiers import verifier_name
from remit.values import JsonObject, Principal


async def check_verifiers(
    verifiers: Mapping[str, Verifier],
    principal: Principal,
    events: Sequence[JsonObject],
    agent: JsonObject,
    toolchains: Sequence[str] = (),
    *,
    has_packages: bool = False,
) -> None:
    """Raises VerifierUnavailable or InvalidRequest for an outcome that could not be judged here.

    A rubric without a model of its own is graded by the agent's, as `orchestrator.evaluation` does it.
    """
    default_model = cast("JsonObject", agent["model"])["id"]
    for event in events:
        for specification in cast("Sequence[JsonObject]", event.get("verifiers") or ()):
            name = verifier_name(specification)
            verifier = verifiers.get(name)
            if verifier is None:
                raise VerifierUnavailable(f"`verifiers`: there is no verifier {name!r} here; use another.")
            if specification["type"] == "rubric":
                specification = {**specification, "model": specification.get("model") or default_model}
            await verifier.check(principal, specification, toolchains=toolchains, has_packages=has_packages)
