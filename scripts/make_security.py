"""Write the tables of docs/security.md from what the providers declare and what the hostile suite expects.

python scripts/make_security.py [--check]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.cgroups import Cgroups
from remit.sandboxes.local import LocalProvider
from remit.testing.hostile_table import HOSTILE_TABLE
from remit.values import WALLS, SandboxCapabilities

TARGET = Path(__file__).parent.parent / "docs" / "security.md"
BEGIN, END = "<!-- {name}: made by scripts/make_security.py -->", "<!-- end of {name} -->"


def declared() -> dict[str, SandboxCapabilities]:
    """What each kind of sandbox declares. Nothing is started."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blobs, ids, egress = DirectoryBlobStore(folder), Ids(SystemClock()), ProxiedEgress(EgressSettings())
        cgroups = Cgroups(folder, has_processes=False)
        return {
            "bubblewrap": BubblewrapProvider(folder, blobs, ids, egress=egress).capabilities(),
            "with a cgroup": BubblewrapProvider(
                folder, blobs, ids, egress=egress, cgroups=cgroups
            ).capabilities(),
            "unsafe-local": LocalProvider(folder, blobs, ids).capabilities(),
        }


def walls_table() -> str:
    """Who holds which wall."""
    kinds = declared()
    lines = ["| wall | what it means | " + " | ".join(kinds) + " |", "|---|---|" + "---|" * len(kinds)]
    for wall, words in WALLS.items():
        held = " | ".join("yes" if wall in one.walls else "**no**" for one in kinds.values())
        lines.append(f"| `{wall}` | {words} | {held} |")
    return "\n".join(lines)


def attacks_table() -> str:
    """What must come of the attacks where their wall is declared; those with the same outcome in one row."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for case in HOSTILE_TABLE:
        rows.setdefault((case.wall, case.root, case.user), []).append(case.name)
    lines = ["| wall | attacks | server is root | ordinary user |", "|---|---|---|---|"]
    lines += [
        f"| `{wall}` | {'; '.join(names)} | {root} | {user} |" for (wall, root, user), names in rows.items()
    ]
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its tables written anew."""
    for name, table in {"walls": walls_table(), "attacks": attacks_table()}.items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def main() -> int:
    text = TARGET.read_text()
    if "--check" in sys.argv[1:]:
        if page(text) == text:
            return 0
        print("docs/security.md is not what the code says; run python scripts/make_security.py")
        return 1
    TARGET.write_text(page(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
