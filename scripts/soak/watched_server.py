"""`remit up`, which counts its own living objects when asked to: SIGUSR1 makes it write FILE.

python scripts/soak/watched_server.py FILE
"""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

OBJECTS = Path(sys.argv[1])


def count(signum: int, frame: FrameType | None) -> None:
    """Write how many objects of each type live. What is garbage already is not counted."""
    del signum, frame
    gc.collect()
    types = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    new = OBJECTS.with_suffix(".new")
    new.write_text(json.dumps(types))
    new.replace(OBJECTS)


def main() -> None:
    """Serve."""
    from remit.cli.up import run

    signal.signal(signal.SIGUSR1, count)
    sys.argv[1:] = ["up"]
    run()


if __name__ == "__main__":
    main()
