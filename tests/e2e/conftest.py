"""SDK clients over real sockets, closed when a test is over: one that is left to the collector is a warning in another test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import pytest

from remit.testing.up_process import UpProcess

MakeClient = Callable[..., anthropic.Anthropic]


@pytest.fixture
def sdk() -> Iterator[MakeClient]:
    with ExitStack() as clients:

        def make(up: UpProcess, key: str | None = None, **options: Any) -> anthropic.Anthropic:
            """A client with the operator's key, or this one."""
            client = anthropic.Anthropic(base_url=up.url, api_key=key or up.key, **options)
            return clients.enter_context(client)

        yield make
