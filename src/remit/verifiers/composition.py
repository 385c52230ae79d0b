"""All verifiers of an outcome together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from remit.errors import InvalidRequest
from remit.interfaces import CallRecorder, Verifier
from remit.schema.verifiers import VERIFIERS_MAX, verifier_name
from remit.values import JsonObject, Pending, Principal, Verdict, VerifyRequest


class Verifiers:
    """Verifiers by their names (`verifier_name` of a specification)."""

    def __init__(self, by_name: Mapping[str, Verifier]) -> None:
        self._by_name = dict(by_name)

    async def check_all(
        self,
        principal: Principal,
        verifiers: Sequence[JsonObject],
        toolchains: Sequence[str] = (),
        *,
        has_packages: bool = False,
    ) -> None:
        """Refuse what cannot run, before anything is spent. Raises InvalidRequest, VerifierUnavailable,
        SandboxUnavailable."""
        if not 1 <= len(verifiers) <= VERIFIERS_MAX:
            raise InvalidRequest(f"verifiers: give 1 to {VERIFIERS_MAX}, not {len(verifiers)}.")
        for index, verifier in enumerate(verifiers):
            try:
                await self._of(verifier).check(
                    principal, verifier, toolchains=toolchains, has_packages=has_packages
                )
            except InvalidRequest as error:
                raise InvalidRequest(f"verifiers[{index}]: {error.message}", code=error.code) from error

    def is_priced(self, verifier: JsonObject) -> bool:
        """Return whether running this verifier costs money. Raises InvalidRequest for an unknown type."""
        return self._of(verifier).is_priced(verifier)

    async def verify_all(
        self,
        request: VerifyRequest,
        verifiers: Sequence[JsonObject],
        recorder: CallRecorder | None,
        baselines: Sequence[str | None] = (),
        known: Sequence[Verdict | None] = (),
    ) -> tuple[Verdict | Pending, ...]:
        """Verdicts in the order given. Those that cost nothing run first; one that costs runs only if those passed,
        else its verdict is not passed, "not run: …". `request.verifier` is not looked at, nor its baseline: `baselines` has
        one for each verifier, or is empty where there are none. Each verifier's own
        verification id is `<verification_id>.<index>`. `known` has what each verifier has said before, or is empty: those
        are not asked again. Where none has failed, what waits is Pending, and with it what costs and is not asked before
        that is over. Raises what `Verifier.verify` raises."""
        said: dict[int, Verdict | Pending] = {i: one for i, one in enumerate(known) if one is not None}
        failed: Verdict | None = next((one for one in known if one is not None and not one.passed), None)
        waits: Pending | None = None
        for index, verifier in self._cheapest_first(verifiers):
            is_priced = self.is_priced(verifier)
            if index in said:
                continue
            if is_priced and failed is not None:
                said[index] = _not_run(verifier, failed)
                continue
            if is_priced and waits is not None:
                said[index] = waits
                continue
            own = msgspec.structs.replace(
                request,
                verifier=verifier,
                verification_id=f"{request.verification_id}.{index}",
                baseline_digest=baselines[index] if baselines else None,
            )
            answer = await self._of(verifier).verify(own, recorder if is_priced else None)
            said[index] = answer
            if isinstance(answer, Pending):
                waits = waits or answer
            elif not answer.passed:
                failed = failed or answer
        if failed is not None:  # whatever the others wait for
            said.update(
                (i, _not_run(verifiers[i], failed)) for i, one in said.items() if isinstance(one, Pending)
            )
        return tuple(said[index] for index in range(len(verifiers)))

    def _cheapest_first(self, verifiers: Sequence[JsonObject]) -> list[tuple[int, JsonObject]]:
        return sorted(enumerate(verifiers), key=lambda item: (self.is_priced(item[1]), item[0]))

    def _of(self, verifier: JsonObject) -> Verifier:
        name = verifier_name(verifier)
        found = self._by_name.get(name)
        if found is None:
            raise InvalidRequest(
                f"type: {name!r} is no verifier. There are: {', '.join(sorted(self._by_name))}."
            )
        return found


def _not_run(verifier: JsonObject, failed: Verdict) -> Verdict:
    return Verdict(
        verifier=verifier,
        passed=False,
        summary=f"not run: another verifier did not pass ({failed.summary})",
        evidence={"not_run": True},
    )
