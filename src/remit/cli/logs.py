"""Where the platform's own log lines go when it runs inside a command: a file, never the terminal or the output."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

import structlog

LOG_FILE = "remit.log"
LOG_BYTES_MAX = 10 << 20
LOG_FILES_KEPT = 3


def log_to_file(data: Path) -> None:
    """Send structlog's and logging's lines to `DATA/remit.log`, which is kept small by rotation."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        data / LOG_FILE, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8", delay=True
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
