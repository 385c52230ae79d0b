"""The composition root: the only package that names concrete adapters (model drivers: `models/configured.py`).

`assemble` puts a platform together from its parts (tests give it stores in memory); `open_platform` makes the parts of
an embedded one: the lock on the data folder, SQLite, the sandbox, the worker, the API on a socket.
"""

from remit.app.assembly import Assembled, assemble
from remit.app.embedded import Extend, Platform, look_into_platform, open_platform
from remit.app.parts import MoreStreams, Parts
from remit.config import load_settings
from remit.models.configured import model_folder, model_shelf
from remit.models.local.catalogue import LocalModel
from remit.models.local.install import InstallProgress
from remit.models.local.shelf import ModelShelf

__all__ = [
    "Assembled",
    "Extend",
    "InstallProgress",
    "LocalModel",
    "ModelShelf",
    "MoreStreams",
    "Parts",
    "Platform",
    "assemble",
    "load_settings",
    "look_into_platform",
    "model_folder",
    "model_shelf",
    "open_platform",
]
