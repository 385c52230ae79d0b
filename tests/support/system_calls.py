"""Writes system_calls.csv from the headers of linux-libc-dev; run by hand: `python tests/support/system_calls.py`."""

from __future__ import annotations

import re
from pathlib import Path

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
TABLE = Path(__file__).with_name("system_calls.csv")


def read_numbers(header: Path) -> dict[str, int]:
    """Numbers by name; aarch64 takes the generic table as it is."""
    text = header.read_text()
    return {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}


def render() -> str:
    """The table: name, x86-64, aarch64."""
    columns = [read_numbers(header) for header in HEADERS.values()]
    names = sorted({name for column in columns for name in column} - {"syscalls", "arch_specific_syscall"})
    rows = [",".join([name, *(str(column.get(name, "")) for column in columns)]) for name in names]
    return "\n".join(["name,x86_64,aarch64", *rows]) + "\n"


if __name__ == "__main__":
    TABLE.write_text(render())
