"""Write docs/compatibility.md from the requirements manifest and the routes there are.

python scripts/make_compatibility.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "compatibility.md"

sys.path.insert(0, str(ROOT / "tests"))


def main() -> int:
    from parity.compatibility import compatibility_page

    page = compatibility_page()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text() == page:
            return 0
        print("docs/compatibility.md is not what the manifest says; run python scripts/make_compatibility.py")
        return 1
    TARGET.write_text(page)
    print(page.split("## ")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
