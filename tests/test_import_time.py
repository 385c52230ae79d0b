"""`remit --help` loads nothing it does not need: what is asked of the interpreter is which modules, not how long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


OPEN = """
import asyncio, sys
from pathlib import Path
from remit.app import load_settings, open_platform

async def open_and_close():
    async with open_platform(load_settings(data=Path(sys.argv[1]), unsafe_local=True)):
        pass

asyncio.run(open_and_close())
print([name for name in ("cryptography", "genai_prices", "mcp", "mcp_types", "pathspec") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("key", "loaded"),
    [("", []), ("sk-none", ["genai_prices"])],
    ids=["nothing that costs", "a provider that costs"],
)
def test_a_platform_starts_without_what_it_needs_later_and_reads_prices_before_the_first_call_where_there_are_any(
    tmp_path: Path, key: str, loaded: list[str]
) -> None:
    settings = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    ended = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**settings, "REMIT_ANTHROPIC_API_KEY": key, "HOME": str(tmp_path)},
    )
    assert ended.stdout.strip() == str(loaded)


UP = """
import sys
sys.argv = ["remit", "up"]
from remit.cli.entry import main
try:
    main()
except SystemExit as ended:
    print(ended.code, [name for name in ("typer", "mcp", "pydantic", "cryptography", "pathspec") if name in sys.modules])
"""


def test_serving_again_reads_no_options_where_there_are_none_and_says_what_is_wrong_all_the_same(
    tmp_path: Path,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", UP],
        capture_output=True,
        text=True,
        env={**os.environ, "REMIT_DATA": str(tmp_path), "REMIT_PORT": "70000"},
    )
    assert ended.stdout.strip() == "2 []"
    assert ended.stderr.startswith("remit: ")
    assert "port" in ended.stderr
