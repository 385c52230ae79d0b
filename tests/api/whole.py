"""The whole platform on the stores that the tests run on, with every answer held to its declaration; and SDKs before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from api.answers import CheckedAnswers
from remit.clock import SystemClock
from remit.testing.platform import ONE, GivenKey, Options, PlatformUnderTest, platform
from support.chosen_stores import chosen_stores


@asynccontextmanager
async def whole_platform(folder: Path, **given: Unpack[Options]) -> AsyncGenerator[PlatformUnderTest]:
    """See `remit.testing.platform`."""
    clock = given.setdefault("clock", SystemClock())
    async with chosen_stores(clock) as stores:
        usual: Options = {
            "store": stores.sessions,
            "catalog": stores.catalog,
            "around": CheckedAnswers,
        }
        async with platform(folder, **{**usual, **given}) as here:
            yield here


@asynccontextmanager
async def anthropic(
    here: PlatformUnderTest, key: GivenKey | str = ONE, **options: Any
) -> AsyncGenerator[
    Any
]:  # Any: the SDK's answers are unions of dozens, and tests give it JSON as it is on the wire
    """The official client; it does not try again unless `max_retries` says so."""
    async with here.http(None) as http:
        yield AsyncAnthropic(
            api_key=key if isinstance(key, str) else key.secret,
            base_url=here.url,
            http_client=http,
            **{"max_retries": 0, **options},
        )


@asynccontextmanager
async def openai(
    here: PlatformUnderTest, key: GivenKey | str = ONE, **options: Any
) -> AsyncGenerator[Any]:  # Any: as above
    """The official client of the other two model protocols."""
    async with here.http(None) as http:
        yield AsyncOpenAI(
            api_key=key if isinstance(key, str) else key.secret,
            base_url=f"{here.url}/v1",
            http_client=http,
            **{"max_retries": 0, **options},
        )
