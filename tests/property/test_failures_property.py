"""Whatever a server says when it fails, the failure has a reason, a price, and a pause that ends."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.models.drivers.limits import limits_of
from remit.models.drivers.output_room import smaller_max_tokens
from remit.models.http.endpoint import ModelEndpoint, ModelTimeouts
from remit.models.http.failures import RETRY_AFTER_SECONDS_MAX, error_failure, error_in, status_failure
from remit.session.refusals import blamed_blocks, read_too_long
from remit.values import JsonValue

ENDPOINT = ModelEndpoint(name="server", base_url="http://127.0.0.1:1", headers={}, timeouts=ModelTimeouts())
NAMES = [
    "error",
    "errors",
    "message",
    "code",
    "type",
    "status",
    "detail",
    "metadata",
    "raw",
    "base_resp",
    "success",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["429", "9" * 5_000, "-1", "1302", "rate_limit_error", "insufficient_quota", "\ud83d"]),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
AFTER = st.one_of(
    st.text(max_size=30),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        [
            "inf",
            "nan",
            "-inf",
            "1e400",
            "-5",
            "",
            "20s",
            "Wed, 21 Oct 99999 07:28:00 GMT",
            "Mon, 01 Jan 0001 00:00:00 +2359",
        ]
    ),
)
BLOCKS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": {}}]}
]


@given(status=st.integers(300, 599), document=DOCUMENTS, after=AFTER, milliseconds=AFTER)
def test_a_status_of_failure_is_a_failure_that_ends(
    status: int, document: Any, after: str, milliseconds: str
) -> None:
    for body in (json.dumps(document).encode(), repr(document).encode("utf-8", "replace")):
        failure = status_failure(
            "server", status, body, {"retry-after": after, "retry-after-ms": milliseconds}
        )
        assert failure.reason
        assert failure.billed in ("no", "unknown", "input")
        seconds = failure.retry_after_seconds
        assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= RETRY_AFTER_SECONDS_MAX)
        assert len(failure.message) < 3_000
        read_too_long(failure.message)
        assert all(place.message == 0 for place in blamed_blocks(failure.message, BLOCKS))
        assert (smaller_max_tokens(failure.message, 16_384) or 1) < 16_384


@given(document=DOCUMENTS, is_begun=st.booleans())
def test_an_error_with_a_status_of_success_is_one(document: Any, is_begun: bool) -> None:
    failure = error_failure(ENDPOINT, document, is_begun=is_begun)
    assert failure.billed == "unknown" or not is_begun
    assert len(failure.message) < 3_000
    if isinstance(document, dict):
        error_in(document)
        limits_of(document)


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("7s", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("1e9", 86_400),
        ("inf", None),
        ("soon", None),
    ],
)
def test_a_pause_is_read_in_every_form(after: str, seconds: float | None) -> None:
    assert status_failure("server", 429, b"", {"retry-after": after}).retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ('openai/gpt-4o requires moderation on OpenRouter. Your input was flagged for "violence"', "invalid"),
        ("Forbidden", "authentication"),
        ("Your account is not allowed to use this model", "authentication"),
    ],
)
def test_a_message_that_is_not_allowed_is_no_key_that_is_not(words: str, reason: str) -> None:
    body = json.dumps({"error": {"message": words, "code": 403}}).encode()
    failure = status_failure("server", 403, body, {})
    assert (failure.reason, failure.billed) == (reason, "no")
    assert bool(blamed_blocks(failure.message, BLOCKS)) == (reason == "invalid")


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000. Please try again in 20s.", 20),
        ("Please try again in 7.66s. Need more tokens?", 7.66),
        ("Please try again in 1m12.5s.", 72.5),
        ("Please try again in 250ms.", 0.25),
        ("Please retry in 37.5s.", 37.5),
        ("Try again in 2 minutes", 120),
        ("Limit resets in 3h", 10_800),
        ("Please try again later.", None),
    ],
)
def test_a_pause_that_only_the_words_tell_is_kept(words: str, seconds: float | None) -> None:
    body = json.dumps({"error": {"message": words}}).encode()
    assert status_failure("server", 429, body, {}).retry_after_seconds == seconds
    assert status_failure("server", 429, body, {"retry-after": "3"}).retry_after_seconds == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("Too Many Requests", "rate_limited"),
        ("Rate limit exceeded: free-models-per-day", "rate_limited"),
        ("You exceeded your current quota, please check your plan", "billing"),
        ("Insufficient Balance", "billing"),
        ("The engine is currently overloaded, please try again later", "overloaded"),
        ("Incorrect API key provided: sk-x", "authentication"),
        ("prompt is too long: 225459 tokens > 200000 maximum", "too_long"),
        ("Something went wrong", "unavailable"),
    ],
)
def test_an_error_without_a_name_is_known_by_its_sentence(words: str, reason: str) -> None:
    errors: list[JsonValue] = [words, {"message": words}, {"message": words, "code": None, "type": ""}]
    for error in errors:
        assert error_failure(ENDPOINT, error, is_begun=False).reason == reason
