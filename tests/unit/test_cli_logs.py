"""The platform's own log lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from remit.cli.logs import log_to_file
log_to_file(Path(sys.argv[1]))
import structlog
structlog.get_logger().error("something_failed")
"""


def test_a_log_that_cannot_be_written_shows_no_traceback_in_the_terminal(tmp_path: Path) -> None:
    """A full disk, for instance. In a process of its own, for it configures logging."""
    (tmp_path / "remit.log").symlink_to("/dev/full")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
