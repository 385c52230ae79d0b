"""Files that an outcome names as the work, in the words it was asked for. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

_PATH = re.compile(r"[\w@+~-]*(?:[./][\w@+~-]+)+|[\w@+~-]+/")
_AS_JUDGE_BEFORE = re.compile(
    r"(?:\bas (?:\w+ )?(?:in|by)|\bmatch(?:es|ing)?|\baccord\w* (?:to|with)|\bper|\bagainst|\bequals?(?: to)?|\bsame as|"
    r"\bidentical (?:to|with)|\bconforms?\w* (?:to|with)|\bsatisf(?:y|ies)|\bfollow(?:s|ing)?|\b\w+(?:ed|en) (?:in|by)|\bsee|"
    r"\buntil|\bpass(?:es|ing)?|\bfrom|\bcompare[ds]? (?:with|to)|\btests? in|\bagree\w* with|\b(?:judge|checker|check) )"
    r"\s*(?:(?:the|what|all|of|its|file|script|output|contents?|checks?|tests?|in)\s+)*[`'\"(]*$",
    re.IGNORECASE,
)
_AS_JUDGE_AFTER = re.compile(
    r"[`'\")]*(?:\s+\w+ly)?\s+(?:(?:to|must|should|will|can|now|still)\s+)*(?:(?:pass(?:es)?|succeeds?)"
    r"(?!\s+(?:the|all|its|every|a|each|both|[\w-]*[./]))|(?:is|be|are)\s+(?:green|happy|satisfied|fulfilled)|green|happy|"
    r"exits?|agrees?|accepts?|approves?|says?|demands?|requires?|expects?|asks?|describes?|specif\w+|checks?|verif\w+)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Meant:
    """Files of the input that are the work. `names_new`: a file is named that the input does not have."""

    files: frozenset[str]
    names_new: bool


def work_in_outcome(outcome: str, paths: Iterable[str]) -> Meant:
    """Read the outcome's words: a path, or a name that only one file has, unless it is spoken of as the judge."""
    by_name: dict[str, list[str]] = {}
    known = list(paths)
    for path in known:
        by_name.setdefault(posixpath.basename(path), []).append(path)
    files: set[str] = set()
    judges: set[str] = set()
    names_new = False
    for found in _PATH.finditer(outcome):
        word = found[0].removeprefix("/workspace/").removeprefix("./").rstrip(".")
        meant = [word] if word in known else by_name.get(word, [])
        if word.endswith("/"):
            meant = [path for path in known if path.startswith(word)]
        elif len(meant) > 1:
            continue
        is_judge = _AS_JUDGE_BEFORE.search(outcome[: found.start()]) or _AS_JUDGE_AFTER.match(
            outcome[found.end() :]
        )
        (judges if is_judge else files).update(meant)
        names_new = names_new or (
            not meant and not is_judge and re.search(r"\w\.[a-z]\w{0,4}$", word) is not None
        )
    return Meant(frozenset(files - judges), names_new)
