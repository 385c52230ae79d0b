"""Write tests/api/golden/openapi.json: the document as it is served."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "tests" / "api" / "golden" / "openapi.json"

sys.path.insert(0, str(ROOT / "tests"))


def main() -> None:
    from api.openapi_text import openapi_text

    TARGET.write_text(openapi_text())


if __name__ == "__main__":
    main()
