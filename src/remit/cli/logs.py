"""The platform's own log lines: they go to a file when it runs inside a command, so that they never mix with
its output; stderr when it is the command. One JSON object a line, with a constant `event`; tracebacks never
show values."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from contextlib import suppress
from pathlib import Path

import structlog
from structlog.typing import Processor

from remit.hidden import hide_tokens

LOG_FILE = "remit.log"
LOG_BYTES_MAX = 10 << 20
LOG_FILES_KEPT = 3


def log_to_file(data: Path) -> None:
    """Send structlog's and logging's lines to `DATA/remit.log`, which is kept small by rotation."""
    with suppress(OSError):  # whoever opens the folder says so
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        data / LOG_FILE, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8", delay=True
    )
    _log_to(handler)


def log_to_stderr() -> None:
    """Send them to stderr, for `remit up`: plain lines on a terminal, JSON for programs that collect logs."""
    _log_to(logging.StreamHandler(sys.stderr), is_for_people=sys.stderr.isatty())


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """The last thing that sees a line: also what an exception of a library quotes holds no token."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return hide_tokens(super().format(record))


def _log_to(handler: logging.Handler, *, is_for_people: bool = False) -> None:
    """Once for structlog and for the libraries that use logging."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
        if is_for_people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.raiseExceptions = False  # a full disk is the caller's to report, not a traceback of logging's own
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # These say each request, with its query; what is worth knowing of it we say ourselves.
    for name in ("httpx2", "httpcore2", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
