"""Treatment of a working session's failed turn: pause and try again, pause for people, or end. Pure."""

from __future__ import annotations

from typing import Literal

from remit.streams.children import ChildFailure

PAUSE_SECONDS_FIRST = 30.0
PAUSE_SECONDS_MAX = 900.0
PAID_IN_A_ROW_MAX = 6
"""Attempts at a server that is away may cost (nobody knows what it did with them): after so many failed turns that did,
people decide."""

Treatment = Literal["again", "people", "end"]

TREATMENTS: dict[str, Treatment] = {
    "unavailable": "again",  # connection refused, no such host, 408, 409, 5xx
    "overloaded": "again",  # 503, 529, no place in the queue
    "rate_limited": "again",  # 429, however often
    "timeout": "again",  # silent, or without an end
    "cut": "again",  # closed before or within the answer
    "garbage": "again",  # something else answers in its place
    "authentication": "people",  # 401, 403
    "billing": "people",  # 402, no quota left
    "no_provider": "people",  # no key is set, or what served the model is not configured any more
    "unpriced": "people",  # the model's price has gone
    "invalid": "end",  # the request itself is refused: the same would be refused again
    "too_long": "end",  # and no room could be made
    "other": "end",
}
"""By why the last model call failed (ModelCallFailed.reason, or what stands for other errors in `turn.failed`)."""

KEYS = {
    "anthropic": "ANTHROPIC_API_KEY (or REMIT_ANTHROPIC_API_KEY)",
    "openai": "REMIT_OPENAI_API_KEY (or OPENAI_API_KEY for OpenAI's own)",
    "local": "REMIT_OPENAI_API_KEY",
    "bedrock": "the vendor's usual credentials",
    "vertex": "the vendor's usual credentials",
}
"""Where each provider's key is taken from."""
MENDS = {
    "authentication": "Set {key} to one that it takes, start Remit anew, and resume.",
    "billing": "Pay or raise the quota there, and resume.",
    "no_provider": "Set what is missing, start Remit anew, and resume.",
    "unpriced": "Add the price, start Remit anew, and resume.",
}
"""What people can do about a pause that does not end by itself."""
MEND_OF_COST = "Each attempt may cost, so it does not try again by itself. Look at the server, and resume."


def treatment(failure: ChildFailure) -> Treatment:
    """Return what is done about a failure; a reason that is not known ends, as everything once did."""
    treatment = TREATMENTS.get(failure.reason, "end")
    is_dear = treatment == "again" and failure.paid_in_a_row >= PAID_IN_A_ROW_MAX
    return "people" if is_dear else treatment


def pause_seconds(failure: ChildFailure) -> float | None:
    """Return how long to stay away: twice as long each time, and at least as long as the server asked, within
    the bounds. None: until people say so."""
    if treatment(failure) != "again":
        return None
    doublings = min(failure.in_a_row - 1, 10)
    asked = failure.retry_after_seconds or 0.0
    return min(PAUSE_SECONDS_MAX, max(PAUSE_SECONDS_FIRST * 2**doublings, asked))


def mend(failure: ChildFailure) -> str | None:
    """Say what people can do; None where waiting is enough."""
    if treatment(failure) != "people":
        return None
    key = KEYS.get(failure.provider or "", "the provider's key")
    return MENDS.get(failure.reason, MEND_OF_COST).format(key=key)
