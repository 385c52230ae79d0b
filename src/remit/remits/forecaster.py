"""The forecast of a remit: the prior of its prices, with what the run on the untouched input has shown."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from remit.catalog.environment_config import network_policy, packages_of
from remit.errors import VerifierUnavailable
from remit.gateway.routing import ModelRouter
from remit.interfaces import Prices
from remit.ledger.prices import unpriced
from remit.remits import evidence
from remit.remits.events import Amount, EnvironmentRef, RemitCreated, RemitForecast, RemitSetupEnded
from remit.remits.forecast import forecast
from remit.remits.money import format_usd
from remit.remits.verification import priced_verifiers
from remit.values import Rate, Verdict
from remit.verifiers.composition import Verifiers
from remit.verifiers.grader_evidence import SHOWN_CHARACTERS_MAX
from remit.verifiers.rubric import ANSWER_TOKENS_MAX
from remit.verifiers.specifications import describe

GRADER_INPUT_TOKENS = SHOWN_CHARACTERS_MAX + 20_000
"""What a grader is shown besides the rubric and the outcome: contents, the list of files, its own rules."""


class Forecaster:
    """Says what a remit will probably cost, at the prices of now."""

    def __init__(self, *, router: ModelRouter, prices: Prices, verifiers: Verifiers) -> None:
        self._router = router
        self._prices = prices
        self._verifiers = verifiers

    async def forecast(
        self,
        created: RemitCreated,
        verdicts: Sequence[Verdict] = (),
        setup: RemitSetupEnded | None = None,
    ) -> RemitForecast:
        """`verdicts` are of the run on the untouched input, `setup` of what stands around it. Raises ModelUnavailable, Unpriced, and InvalidRequest when
        the budget cannot bind this model."""
        prior = forecast(
            model=created.model,
            rate=await self._rate(created.model),
            budget=created.budget,
            input_bytes=created.input_bytes,
            priced_verifiers=len(priced_verifiers(self._verifiers, created.verifiers)),
            verification_worst=await self._verification_worst(created),
        )
        notes = (
            *prior.notes,
            *_surroundings_notes(created.environment),
            *(setup.notes if setup is not None else ()),
            *evidence.texts(verdicts, "notes"),
        )
        return replace(
            prior,
            notes=tuple(dict.fromkeys(notes)),
            protected=evidence.protected_files(verdicts),
            proposed_work=evidence.texts(verdicts, "proposed_work"),
            rewrites=evidence.texts(verdicts, "rewrites"),
        )

    async def _rate(self, model: str) -> Rate | None:
        route = await self._router.resolve(model)
        return self._prices.rate(route.priced_as)

    async def _verification_worst(self, created: RemitCreated) -> Amount:
        """What one run of every grader can come to, at the dearest rates."""
        nano_usd = tokens = 0
        for verifier in priced_verifiers(self._verifiers, created.verifiers):
            if "model" not in verifier:
                raise VerifierUnavailable(
                    f"verifier {describe(verifier)!r} costs money and names no model, so nobody can say how much. Leave it out."
                )
            model = str(verifier["model"])
            rate = await self._rate(model)
            if rate is None and created.budget.usd is not None:
                raise unpriced(model)
            input_tokens = len(f"{created.outcome}{verifier.get('rubric')}".encode()) + GRADER_INPUT_TOKENS
            tokens += input_tokens + ANSWER_TOKENS_MAX
            if rate is not None:
                nano_usd += input_tokens * rate.input_dearest + ANSWER_TOKENS_MAX * rate.output_dearest
        return Amount(usd=format_usd(nano_usd), tokens=tokens)


def _surroundings_notes(environment: EnvironmentRef | None) -> tuple[str, ...]:
    """What the work may reach, for whoever consents."""
    if environment is None:
        return ()
    network = network_policy(environment.config)
    reached = {"none": "reaches nothing", "unrestricted": "reaches every public host"}.get(network.mode)
    if reached is None:
        hosts = [*network.allowed_hosts, *(["the package registries"] if network.has_registries else [])]
        reached = f"reaches {', '.join(hosts)}"
    packages = [name for names in packages_of(environment.config).values() for name in names]
    installed = f" {', '.join(packages)} will be installed for it and for the verifiers." if packages else ""
    return (
        f"In the environment {environment.name!r} the agent {reached}; verifiers reach nothing.{installed}",
    )
