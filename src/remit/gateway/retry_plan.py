"""The next target of a call when an attempt came to nothing: the same again, the next one, back to the first,
or none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from remit.errors import ModelCallFailed
from remit.gateway.routing import ModelRoute
from remit.values import Value

RETRY_SPREAD_SECONDS = 2.0
"""Over which those come back whom the provider told the same time."""
FALLBACK_REASONS = ("overloaded", "rate_limited", "unavailable")
"""What another model can be asked instead for: 429, 529, 5xx, a provider that cannot be reached."""


class RetrySettings(Value, frozen=True, kw_only=True):
    """Settings of when a failed call is made again. Every attempt has its own hold."""

    attempts_max: int = 10
    assumed_attempts_max: int = 2
    """Attempts whose cost is unknown are paid at their worst case, so fewer of them."""
    wait_seconds_max: float = 120.0
    """Of all the pauses together."""
    backoff_first_seconds: float = 1.0
    backoff_max_seconds: float = 30.0


class RetryPlan:
    """One call's way over the targets of its route. What gives seconds gives None where the call has failed for good."""

    def __init__(
        self, targets: Sequence[ModelRoute], settings: RetrySettings, random_fraction: Callable[[], float]
    ) -> None:
        self._targets = list(targets)
        self._settings = settings
        self._random_fraction = random_fraction
        self._index = 0
        self._waited_seconds = 0.0
        self._assumed = 0
        self.number = 1
        """Of the attempt, from 1."""

    @property
    def route(self) -> ModelRoute:
        """The target that is asked."""
        return self._targets[self._index]

    def pass_over(self, is_closed: Callable[[ModelRoute], bool]) -> None:
        """Pass over a key that asks to be left alone, where another model may answer."""
        while self._has_next and is_closed(self.route):
            self._index += 1

    def after_no_place(self) -> bool:
        """Go on after a full queue; return whether there is another target to ask, at once."""
        if not self._has_next or self._is_last_attempt:
            return False
        self._index += 1
        self.number += 1
        return True

    def after_refusal(self) -> float | None:
        """The attempt was not made. A stand-in cannot be asked this, or not for this money; the first target can."""
        if self._index == 0 or self._is_last_attempt:
            return None
        return self._back_to_the_first()

    def after_failure(self, failure: ModelCallFailed, *, has_begun: bool, is_watched: bool) -> float | None:
        """`has_begun`: a part of the answer came; what somebody has watched come in is not made again."""
        self._assumed += failure.billed != "no"
        if has_begun and is_watched:
            return None
        is_spent = self._is_last_attempt or self._assumed >= self._settings.assumed_attempts_max
        if self._index > 0 and failure.reason in ("invalid", "too_long") and not is_spent:
            pause = self._back_to_the_first()
        elif self._has_next and failure.reason in FALLBACK_REASONS and not has_begun and not is_spent:
            self._index += 1
            self.number += 1
            return 0.0
        else:
            pause = None if is_spent else self._pause(failure)
            self._index = 0
            self.number += 1
        self._waited_seconds += pause or 0.0
        return pause

    @property
    def _has_next(self) -> bool:
        return self._index + 1 < len(self._targets)

    @property
    def _is_last_attempt(self) -> bool:
        return self.number >= self._settings.attempts_max

    def _back_to_the_first(self) -> float:
        """And never again to the one that was asked, or those behind it."""
        pause = self._backoff()
        del self._targets[self._index :]
        self._index = 0
        self.number += 1
        return pause

    def _pause(self, failure: ModelCallFailed) -> float | None:
        if not failure.is_retryable:
            return None
        pause = self._backoff()
        if failure.retry_after_seconds is not None:
            # Whoever was told the same time does not come back at the same instant.
            spread = self._random_fraction() * min(failure.retry_after_seconds, RETRY_SPREAD_SECONDS)
            pause = max(pause, failure.retry_after_seconds + spread)
        return pause if self._waited_seconds + pause <= self._settings.wait_seconds_max else None

    def _backoff(self) -> float:
        settings = self._settings
        backoff = min(settings.backoff_first_seconds * 2 ** (self.number - 1), settings.backoff_max_seconds)
        return backoff * (0.5 + 0.5 * self._random_fraction())
