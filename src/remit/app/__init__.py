"""The composition root: the only package that names concrete adapters (model drivers: `models/configured.py`).

`assemble` puts a platform together from its parts (tests give it stores in memory); `open_platform` makes the parts of
an embedded one: the lock on the data folder, SQLite, the sandbox, the worker, the API on a socket.
"""

from remit.app.assembly import Assembled, assemble
from remit.app.embedded import Extend, Platform, look_into_platform, open_platform
from remit.app.parts import MoreStreams, Parts
from remit.config import load_settings
from remit.models.configured import installed_models, model_folder
from remit.models.local.catalogue import LocalModel
from remit.models.local.install import InstallProgress
from remit.models.local.installed_models import InstalledModels

__all__ = [
    "Assembled",
    "Extend",
    "InstallProgress",
    "InstalledModels",
    "LocalModel",
    "MoreStreams",
    "Parts",
    "Platform",
    "assemble",
    "installed_models",
    "load_settings",
    "look_into_platform",
    "model_folder",
    "open_platform",
]
