"""Files that a build tool makes from a git tag, as a `pyproject.toml` names them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

Table = Mapping[str, Any]  # TOML has any value; what is read is checked where it is read


def written_versions(pyproject: Table) -> tuple[str, ...]:
    """Paths beside the `pyproject.toml` to which the version is written; git ignores them, the package imports them."""
    tool = table(pyproject, "tool")
    scm = table(tool, "setuptools_scm") or table(tool, "setuptools-scm")
    vcs = table(table(table(table(tool, "hatch"), "build"), "hooks"), "vcs")
    said: tuple[object, ...] = (
        scm.get("write_to"),
        scm.get("version_file"),
        vcs.get("version-file"),
        table(table(tool, "pdm"), "version").get("write_to"),
        table(tool, "versioningit").get("write") and table(table(tool, "versioningit"), "write").get("file"),
    )
    return tuple(path for path in said if isinstance(path, str) and path)


def table(of: Table, key: str) -> Table:
    """A table of a table; an empty one where there is none."""
    found = of.get(key)
    return cast("Table", found) if isinstance(found, Mapping) else {}
