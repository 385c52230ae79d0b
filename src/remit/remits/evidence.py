"""Evidence of verdicts on the untouched input. Pure; what a verifier does not say is empty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from remit.remits.events import ProtectedFile, RemitCreated
from remit.values import JsonObject, JsonValue, Verdict


def protected_files(verdicts: Sequence[Verdict]) -> tuple[ProtectedFile, ...]:
    """Files that the agent may not change, for any of the verifiers; by path."""
    found: dict[str, ProtectedFile] = {}
    for entry in _entries(verdicts, "protected"):
        if isinstance(entry, dict) and isinstance(path := entry.get("path"), str):
            found.setdefault(path, _protected_file(path, entry))
    return tuple(found[path] for path in sorted(found))


def texts(verdicts: Sequence[Verdict], name: str) -> tuple[str, ...]:
    """The texts under this name in the evidence of all of them, in order of first sight."""
    return tuple(dict.fromkeys(entry for entry in _entries(verdicts, name) if isinstance(entry, str)))


def baselines(created: RemitCreated, verdicts: Sequence[Verdict]) -> tuple[str | None, ...]:
    """Return for each verifier of the remit the digest of what its run on the untouched input showed; None
    where there was no run or it left nothing. `verdicts` are those of that run, in the verifiers' order,
    without the priced ones."""
    left = list(verdicts)
    found: list[str | None] = []
    for verifier in created.verifiers:
        digest: JsonValue = None
        if left and left[0].verifier == verifier:
            digest = left.pop(0).evidence.get("baseline_digest")
        found.append(digest if isinstance(digest, str) else None)
    return tuple(found)


def _entries(verdicts: Sequence[Verdict], name: str) -> Iterable[JsonValue]:
    for verdict in verdicts:
        listed = verdict.evidence.get(name)
        if isinstance(listed, list):
            yield from listed


def _protected_file(path: str, entry: JsonObject) -> ProtectedFile:
    reason, sha256, target = entry.get("reason"), entry.get("sha256"), entry.get("target")
    return ProtectedFile(
        path=path,
        reason=reason if isinstance(reason, str) else "",
        sha256=sha256 if isinstance(sha256, str) else None,
        target=target if isinstance(target, str) else None,
    )
