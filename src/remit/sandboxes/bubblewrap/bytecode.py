"""The image's own bytecode, where a judge's Python looks for it: a tree of links, made once for an image.

Without it every judge would compile its standard library and its packages anew: three times the time of a short pytest.
What stands beside sources in the working tree is not in it, and is not read.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path

from remit.sandboxes.image import Image
from remit.sandboxes.image_folder import ImageFolder

INSIDE = "/mnt/bytecode"
_SYSTEM = ("/usr/lib/python3*", "/usr/local/lib/python3*")
_FOLDER = "__pycache__"


def link_bytecode(images: ImageFolder, image: Image) -> Path:
    """The folder to be bound at `INSIDE`. Blocking."""
    name = f"bytecode-{image.info.digest[:32]}"
    found = images.use(name)
    while found is None:
        with images.making(name) as new:
            for bind in image.binds:
                _link_below(new, bind.source, bind.target)
            for pattern in _SYSTEM:
                for folder in glob.glob(pattern):
                    _link_below(new, folder, folder)
            for path in [new, *new.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755)
        found = images.use(name)
    return found


def _link_below(new: Path, source: str, target: str) -> None:
    """A source at `target`/a/b.py has its bytecode at `new`/`target`/a."""
    for folder, names, _files in os.walk(source):
        if _FOLDER not in names:
            continue
        inside = target + folder[len(source) :]
        place = new / inside.removeprefix("/")
        place.mkdir(parents=True, exist_ok=True)
        for name in os.listdir(os.path.join(folder, _FOLDER)):
            link = place / name
            if name.endswith(".pyc") and not link.is_symlink():
                link.symlink_to(f"{inside}/{_FOLDER}/{name}")
