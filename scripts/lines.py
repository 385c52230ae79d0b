"""Lines of src without the tenants of the kits, and of each tenant; exit code 1 when there are more than there were before.

Standard library alone. A tenant is what stands on a kit and could be taken out again: its folders and files are named here.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "remit"
BEFORE = 83_930
"""When the kits were begun (commit 231b8b0, 1 December 2026)."""
TENANTS = {
    "MCP toolsets": ("toolsets/mcp", "app/mcp.py", "catalog/mcp_servers.py", "schema/mcp.py"),
    "memory stores": (
        "orchestrator/sandbox_memory.py",
        "catalog/memory_stores.py",
        "sessions/memory.py",
        "schema/memory_stores.py",
        "server/routes/memory_stores.py",
        "session/memory_merge.py",
    ),
    "deployments": ("deployments", "schema/deployments.py", "server/routes/deployments.py"),
    "PostgreSQL": ("stores/postgres", "bus/shared.py"),
}
"""Only files that would be deleted if the tenant were taken out. What it takes in files of others (a field of an agent, a
mount in a sandbox, a line of the wiring) counts as everybody's."""


def lines_of(path: Path) -> int:
    """Count the lines of a file, or of all Python and SQL files below a folder."""
    files = [path] if path.is_file() else [*path.rglob("*.py"), *path.rglob("*.sql")]
    return sum(len(file.read_text().splitlines()) for file in files)


def main() -> int:
    """Print the table."""
    all_lines = sum(len(file.read_text().splitlines()) for file in SOURCE.rglob("*.py"))
    of_tenants = {name: sum(lines_of(SOURCE / part) for part in parts) for name, parts in TENANTS.items()}
    python_of_tenants = sum(
        len(file.read_text().splitlines())
        for parts in TENANTS.values()
        for part in parts
        for file in ([SOURCE / part] if part.endswith(".py") else (SOURCE / part).rglob("*.py"))
        if file.exists()
    )
    house = all_lines - python_of_tenants
    for name, lines in of_tenants.items():
        print(f"{lines:>8,}  {name}")
    print(f"{house:>8,}  everything else; {BEFORE:,} before the kits")
    if house > BEFORE:
        print(f"{house - BEFORE:,} more than before: delete what the kits replace.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
