"""Reads JUnit's XML, the report that most test runners can write."""

from __future__ import annotations

import re
from typing import Literal
from xml.parsers import expat

FILE_BYTES_MAX = 32 << 20
DEPTH_MAX = 50
_NAME = re.compile(r"(^|/)(TEST-[^/]*|[^/]*(junit|results?|report)[^/]*)\.xml$", re.IGNORECASE)
_FOLDER = re.compile(
    r"(^|/)(surefire-reports|failsafe-reports|test-results|test-reports|junit[^/]*)/([^/]+/)*[^/]+\.xml$"
)

_Status = Literal["passed", "failed", "skipped"]


def is_junit_path(path: str) -> bool:
    """Return whether a file of this name is usually such a report."""
    return bool(_NAME.search(path) or _FOLDER.search(path))


def read_junit(content: bytes) -> list[tuple[str, _Status]]:
    """The cases of a report, with how each ended; none when it is no such report, is too big, or declares entities."""
    if len(content) > FILE_BYTES_MAX:
        return []
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.StartDoctypeDeclHandler = reading.refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, _NotJUnit):
        return []
    return reading.cases


class _NotJUnit(Exception):
    """The file is something else."""


class _Reading:
    def __init__(self) -> None:
        self.cases: list[tuple[str, _Status]] = []
        self._open: list[str] = []
        self._name = ""
        self._status: _Status = "passed"

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        tag = tag.rpartition(":")[2]
        if (not self._open and tag not in ("testsuite", "testsuites")) or len(self._open) >= DEPTH_MAX:
            raise _NotJUnit
        if tag == "testcase":
            owner = attributes.get("classname") or attributes.get("file") or ""
            self._name = " > ".join(part for part in (owner, attributes.get("name", "")) if part)
            self._status = "passed"
            if attributes.get("status") in ("notrun", "skipped", "disabled"):
                self._status = "skipped"
        elif self._open[-1:] == ["testcase"]:
            if tag in ("failure", "error"):
                self._status = "failed"
            elif tag == "skipped" and self._status == "passed":
                self._status = "skipped"
        self._open.append(tag)

    def end(self, tag: str) -> None:
        """An element ends."""
        if self._open.pop() == "testcase":
            self.cases.append((self._name, self._status))

    def refuse(self, *_: object) -> None:
        """No such report has a document type, and entities are declared in one."""
        raise _NotJUnit
