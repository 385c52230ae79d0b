"""Keys and tokens never stand in the log, whoever puts them into a line."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog

from remit.cli.logs import LOG_FILE, log_to_file
from remit.hidden import hide_tokens
from remit.server.previews.routes import TOKEN_PREFIX
from remit.server.routes.keys import KEY_PREFIX, LINK_PREFIX, new_secret

TOKENS = [new_secret(prefix) for prefix in (KEY_PREFIX, LINK_PREFIX, TOKEN_PREFIX) for _ in range(40)]
WRITTEN: list[Callable[[str], str]] = [
    str,
    lambda token: f"GET /v1/previews/{token}/x",
    lambda token: f"ValueError: bad address /sessions/sesn_1?token={token}&a=b",
    lambda token: f"Bearer {token}",
    lambda token: json.dumps({"authorization": token}),
    lambda token: f"/v1/previews/{quote(token)}/",
    lambda token: f"/login?next={quote(f'/sessions?token={token}', safe='')}&b=1",
    lambda token: quote(quote(f"?token={token}")),
    lambda token: repr(f"two lines\n{token}"),
    lambda token: json.dumps(f"a\t{token}"),
    lambda token: f"token\\u003d{token}",
    lambda token: f"?token={token.replace('_', '%5f')}",
    lambda token: f"?token={token.replace('_', '%255F')} HTTP/1.1",
    lambda token: "?token=" + "".join(f"\\x{byte:02x}" for byte in token.encode()),
    lambda token: f"Basic {base64.b64encode(f'{token}:'.encode()).decode()}",
    lambda token: f"cookie_{token}",
    lambda token: "/v1/previews/" + "".join(f"%{byte:02x}" for byte in token.encode()) + "/x",
]

UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")


@pytest.fixture
def log(tmp_path: Path) -> Generator[Path]:
    before = logging.root.handlers[:], logging.root.level, logging.raiseExceptions
    # A server that another test ran in this process has set these up its own way.
    uvicorn = [(each, each.handlers[:], each.propagate) for each in map(logging.getLogger, UVICORN)]
    for each, _, _ in uvicorn:
        each.handlers[:], each.propagate = [], True
    log_to_file(tmp_path)
    ours = logging.root.handlers[:]
    yield tmp_path / LOG_FILE
    for handler in ours:
        handler.close()
    logging.root.handlers[:], logging.root.level, logging.raiseExceptions = before
    for each, handlers, propagates in uvicorn:
        each.handlers[:], each.propagate = handlers, propagates
    structlog.reset_defaults()


def test_every_kind_of_token_is_taken_out_however_it_is_written() -> None:
    for token in TOKENS:
        for write in WRITTEN:
            hidden = hide_tokens(write(token))
            assert token not in hidden
            assert "".join(f"%{byte:02x}" for byte in token.encode()) not in hidden
            assert "\u2026" in hidden
            assert token[-24:] not in hidden
            assert len(hidden) < len(write(token)) - 40


def test_what_is_no_token_stays() -> None:
    text = "GET /v1/remits/remit_01abcdefghijklmnopqrstuvwx 200; sesn_01, rk_short; /v1/previews"
    assert hide_tokens(text) == text


def test_lines_of_ours_and_of_libraries_and_tracebacks_hold_none(log: Path) -> None:
    token = TOKENS[0]
    own = structlog.get_logger("remit.test")
    own.info("one", path=f"/v1/previews/{token}/", nested={"key": [token]})
    logging.getLogger("asyncio").error("two %s", token)
    try:
        raise ValueError(f"cannot read {token}")
    except ValueError:
        own.exception("three")
        logging.getLogger("uvicorn.error").exception("four")
    written = log.read_text()
    assert len(written.splitlines()) == 4
    assert token not in written
    assert token[:12] not in written
