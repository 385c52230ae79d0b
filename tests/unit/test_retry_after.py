"""How long a server asks to be left alone."""

from __future__ import annotations

from email.utils import formatdate
from time import time

import pytest

from remit.models.http.failures import status_failure

DAY_SECONDS = 86_400.0


@pytest.mark.parametrize("off_seconds", [0.0, -DAY_SECONDS, DAY_SECONDS])
def test_a_retry_after_that_is_a_date_is_read_by_the_clock_of_the_server(off_seconds: float) -> None:
    servers = time() + off_seconds
    headers = {
        "date": formatdate(servers, usegmt=True),
        "retry-after": formatdate(servers + 30, usegmt=True),
    }
    assert status_failure("server", 429, b"", headers).retry_after_seconds == pytest.approx(30, abs=1)


@pytest.mark.parametrize("date", [{}, {"date": "some day"}], ids=["no date", "no such date"])
def test_without_the_servers_date_it_is_read_by_ours(date: dict[str, str]) -> None:
    headers = {**date, "retry-after": formatdate(time() + 3_000, usegmt=True)}
    said = status_failure("server", 503, b"", headers).retry_after_seconds
    assert said is not None
    assert 0 < said <= 3_000
