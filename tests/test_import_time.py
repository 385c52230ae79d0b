"""`remit --help` loads nothing it does not need: what is asked of the interpreter is which modules, not how long."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOT_NEEDED = (
    "remit.app",
    "remit.server",
    "remit.stores",
    "uvicorn",
    "httpx2",
    "starlette",
    "apsw",
    "genai_prices",
    "rich.live",
)
PROGRAM = """
import sys
from remit.cli.main import run
code = run(sys.argv[1:])
loaded = [name for name in {names!r} if name in sys.modules]
print("loaded:", *loaded, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("words", [["--help"], ["do", "--help"], ["receipt", "--help"]])
def test_help_loads_neither_the_platform_nor_the_client(words: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=NOT_NEEDED), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage: remit" in ended.stdout
    assert ended.stderr.strip() == "loaded:"


def test_naming_the_client_loads_no_platform() -> None:
    program = "import sys, remit.client.client; print([n for n in sys.modules if n.startswith('remit.')])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for package in ("app", "server", "stores", "orchestrator", "session", "interfaces"):
        assert f"'remit.{package}" not in ended.stdout
