"""The load shapes of docs/load.md, through the public HTTP API of a server in its own process.

python scripts/load [--only herd,storm] [--scale 0.1]

Every shape prints how long it took at the median, the 95th percentile and the worst, how many failed (none may), how
many answers were refusals that the client waited out, and the longest silence of a session that was at work. Whoever
was silent for 5 seconds is asked why.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "bench"))  # the client and the processes of the bench

from processes import Process, Server  # noqa: E402
from sessions import HEADER  # noqa: E402
from shapes import SCRIPTS, Shape, herd, output, release, shares, storm  # noqa: E402
from thaw import thaw  # noqa: E402
from wire import Target  # noqa: E402

SHAPES: Mapping[str, Callable[[Shape], Awaitable[None]]] = {
    "herd": herd,
    "output": output,
    "storm": storm,
    "release": release,
    "thaw": thaw,
    "shares": shares,
}


async def run(name: str, scale: float, folder: Path) -> int:
    """One shape on a server with an empty data folder; how many failures it had."""
    process = (
        Process([sys.executable, str(HERE / "stormy_model.py")], folder, "model", {})
        if name == "storm"
        else None
    )
    model = Target(*await process.address()) if process is not None else None
    url = f"http://{model.host}:{model.port}" if model is not None else None
    server = Server(folder, SCRIPTS, model_url=url)
    try:
        shape = Shape(server=server, target=await server.start(), scale=scale, model=model)
        await SHAPES[name](shape)
    finally:
        server.stop()
        if process is not None:
            process.stop()
    failures = 0
    for what, seen in shape.rows:
        print(seen.line(f"{name}: {what}"), flush=True)
        for said, count in (seen.failures + seen.waits).most_common(8):
            print(f"    {count} x {said}")
        failures += sum(seen.failures.values())
    for note in shape.notes:
        print(f"    {note}")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help=f"some of {','.join(SHAPES)}")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(SHAPES)
    if unknown := set(wanted) - set(SHAPES):
        parser.error(f"no such load shape: {', '.join(sorted(unknown))}")
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} before; "
        f"scale {options.scale}\n{HEADER}"
    )
    # The week passes in this process, whose log would stand between the rows.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    failures = 0
    with tempfile.TemporaryDirectory(prefix="remit-load-") as folder:
        for name in wanted:
            place = Path(folder) / name
            place.mkdir()
            failures += asyncio.run(run(name, options.scale, place))
    if failures:
        sys.exit(f"{failures} failures")


if __name__ == "__main__":
    main()
