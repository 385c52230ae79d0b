"""Keep what the server refuses by name, and the tests compare, of a list of the SDK's endpoints: method, HTTP method, path, tier.

    python scripts/keep_endpoints.py LIST.json

writes src/remit/server/description/endpoints.json. Run it when the pinned SDK changes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src" / "remit" / "server" / "description" / "endpoints.json"


def main(source: str) -> None:
    rows = [
        {
            "method": row["sdk_method"],
            "http_method": row["http_method"],
            "path": row["path"].partition(" ")[0],
            "tier": row["tier"],
        }
        for row in json.loads(Path(source).read_text())
    ]
    rows.sort(key=lambda row: row["method"])
    lines = ",\n".join(json.dumps(row) for row in rows)
    TARGET.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
