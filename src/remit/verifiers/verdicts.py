"""The verdict of a command's run, its words for people and for the agent, its evidence. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from remit.output_text import clean, shorten
from remit.schema import verifiers as schema
from remit.values import (
    ConsentReason,
    ImageInfo,
    JsonObject,
    JsonValue,
    SandboxCapabilities,
    Tree,
    TreeEntry,
    Verdict,
    VerifyRequest,
)
from remit.verifiers.baseline import Baseline
from remit.verifiers.cannot_run import awaits_a_module, why_it_cannot_run
from remit.verifiers.case_verdict import CasesVerdict, normalise
from remit.verifiers.endings import Told, hear
from remit.verifiers.families import share_a_language
from remit.verifiers.judged import Judged, planted
from remit.verifiers.patterns import ProtectedPatterns
from remit.verifiers.protected import ProtectedFile, Protection
from remit.verifiers.reports import RunReport
from remit.verifiers.trials import Trial, in_words
from remit.wording import listed

OUTPUT_HEAD_CHARACTERS = 4_000
OUTPUT_TAIL_CHARACTERS = 12_000
"""The end of a test run says what failed."""
PATHS_NAMED_MAX = 20
PATHS_REPORTED_MAX = 100
GIVEN_REPORTED_MAX = 20
PROTECTED_REPORTED_MAX = 2_000


@dataclass(frozen=True)
class CommandRun:
    """All that is known after the command ran."""

    request: VerifyRequest
    specification: schema.CommandVerifier
    given: Tree
    judged: Judged
    tree_digest: str
    trial: Trial
    protection: Protection
    patterns: ProtectedPatterns
    baseline: Baseline | None
    image: ImageInfo
    capabilities: SandboxCapabilities


@dataclass(frozen=True)
class _Seen:
    """What the run did with files, sorted by whose they are."""

    rewritten: tuple[str, ...]
    """Protected files that were written, replaced or removed while the command ran."""
    planted: tuple[str, ...]
    """Files that appeared while it ran, under a name that decides, and were then opened."""
    given: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str | None, str | None], ...]
    added: tuple[str, ...]

    @property
    def of_the_work(self) -> tuple[str, ...]:
        return tuple(sorted([*(path for path, _, _ in self.changed), *self.added]))


def untouched_verdict(run: CommandRun, baseline: Baseline, baseline_digest: str) -> Verdict:
    """Say what the run on the untouched input showed, and what a person must accept before anything is spent."""
    seen, ended = _look(run), run.trial.ended
    told = _told_of(run, seen)
    has_input = bool(run.given.entries)
    why_not = (
        why_it_cannot_run(
            ended,
            outcome=run.request.outcome,
            cases_ran=_cases_that_ran(run.trial.report),
            paths=_files(run.given),
            work_left=run.protection.work_left,
        )
        if has_input
        else None
    )
    isolated = run.trial.isolated
    if isolated is not None and run.protection.work_left and isolated.why_no_pass is not None:
        why_not = isolated.why_no_pass
    found: dict[ConsentReason, bool] = {
        "cannot_run": why_not is not None,
        # What a command opened that came nowhere tells nothing of the work.
        "work_unclear": run.protection.is_unclear
        and why_not is None
        and not awaits_a_module(ended, outcome=run.request.outcome, paths=_files(run.given)),
        "unseen": has_input and not run.trial.record.is_complete,
    }
    how = f"cannot run: {why_not}" if why_not is not None else in_words(ended, run.specification)
    passed = ended.exit_code == 0 and told.why_no_pass is None
    if ended.exit_code == 0 and told.why_no_pass is not None:
        how = f"{how}, but {told.why_no_pass}"
    return Verdict(
        verifier=run.request.verifier,
        passed=passed,
        summary=how,
        output=_report(run, seen, told, unseen=False),
        evidence={
            **_evidence(run, seen, told),
            "baseline_digest": baseline_digest,
            "work_left": list[JsonValue](_bounded(run.protection.work_left)),
            "proposed_work": list[JsonValue](_proposed(run.protection.work_left)),
            "rewrites": list[JsonValue](_bounded(baseline.rewrites)),
            "notes": list[JsonValue](run.protection.notes),
        },
        reasons=tuple(reason for reason, is_there in found.items() if is_there),
        duration_seconds=ended.duration_seconds,
    )


def verdict(run: CommandRun) -> Verdict:
    """Say whether the work passed, on what that rests, and why not."""
    seen, ended = _look(run), run.trial.ended
    told = _told_of(run, seen)
    tampered = tuple(dict.fromkeys((*run.judged.tampered, *seen.rewritten)))
    unseen = _is_unseen(run)
    isolated = run.trial.isolated
    return Verdict(
        verifier=run.request.verifier,
        passed=ended.exit_code == 0
        and not tampered
        and not seen.planted
        and told.why_no_pass is None
        and (isolated is None or isolated.why_no_pass is None)
        and not unseen,
        summary=_summary(run, seen, told, unseen=unseen),
        output=_report(run, seen, told, unseen=unseen),
        evidence=_evidence(run, seen, told),
        tampered=_bounded(tampered),
        added=_bounded(run.judged.added),
        rests_on_work=_bounded(seen.of_the_work),
        duration_seconds=ended.duration_seconds,
    )


def _look(run: CommandRun) -> _Seen:
    before, after = _files(run.given), _files(run.judged.tree)
    protected = {file.path for file in run.protection.files}
    record, baseline = run.trial.record, run.baseline
    known = frozenset[str]() if baseline is None else frozenset((*baseline.rewrites, *baseline.created))
    given: list[tuple[str, str]] = []
    changed: list[tuple[str, str | None, str | None]] = []
    added: list[str] = []
    for path in record.opened:
        now, was = after.get(path), before.get(path)
        if now is None:
            continue
        if was is None:
            added.append(path)
        elif _content(was) != _content(now):
            changed.append((path, was.sha256, now.sha256))
        else:
            given.append((path, _content(now)))
    is_judged = baseline is not None
    return _Seen(
        rewritten=tuple(sorted((run.trial.changed & protected) - known)) if is_judged else (),
        planted=_planted(run, known) if is_judged else (),
        given=tuple(given),
        changed=tuple(changed),
        added=tuple(added),
    )


def _planted(run: CommandRun, known: frozenset[str]) -> tuple[str, ...]:
    """Names that hold a time, a hash or a random part are others in each run: `vite.config.ts.timestamp-1700…-a1b2….mjs`."""
    usual = {normalise(path) for path in known}
    created = [path for path in run.trial.record.created if path not in known]
    return planted(
        (path for path in run.trial.record.created_opened if normalise(path) not in usual),
        run.given,
        run.protection,
        run.patterns,
        created=created,
        judge_modules=frozenset(run.image.python.modules),
    )


def _told_of(run: CommandRun, seen: _Seen) -> Told:
    protected = {file.path for file in run.protection.files}
    told = hear(
        run.baseline.report if run.baseline is not None else None,
        run.trial.report,
        is_protected=protected.__contains__,
        exit_code=run.trial.ended.exit_code,
        before_exit_code=run.baseline.exit_code if run.baseline is not None else None,
        is_untouched=run.baseline is None,
    )
    isolated = run.trial.isolated
    if isolated is None or isolated.mixed is not None:
        given = [path for path, _ in seen.given]
        if told.judged_in_process is None and share_a_language(given, seen.of_the_work):
            return msgspec.structs.replace(told, judged_in_process=True)
        return told
    cases = told.cases and msgspec.structs.replace(told.cases, judged_in_process=False)
    return msgspec.structs.replace(told, cases=cases, judged_in_process=False)


def _cases_that_ran(report: RunReport | None) -> int:
    """Without what only holds cases and could not be loaded; to Node's runner a whole file is a case like others."""
    return sum(
        case.status in ("passed", "failed", "xpassed", "xfailed")
        and not (run.reporter == "node" and case.status == "failed" and " > " not in case.name)
        for run in (report.runs if report is not None else ())
        for case in run.cases
    )


def _is_unseen(run: CommandRun) -> bool:
    """Whether the command may have read changed files that nobody saw it read."""
    if run.trial.record.is_complete or "unseen" in run.request.despite or not run.given.entries:
        return False
    return _contents(run.given) != _contents(run.judged.tree)


def _why_isolated(run: CommandRun) -> str | None:
    """Why judge and work were not kept apart as was asked; a command that failed need not have got as far as the work."""
    isolated = run.trial.isolated
    if isolated is None:
        return None
    return isolated.why_no_pass if run.trial.ended.exit_code == 0 else isolated.mixed


def _files(tree: Tree) -> dict[str, TreeEntry]:
    return {entry.path: entry for entry in tree.entries if entry.kind != "dir"}


def _contents(tree: Tree) -> dict[str, tuple[str, int]]:
    return {path: (_content(entry), entry.mode) for path, entry in _files(tree).items()}


def _content(entry: TreeEntry) -> str:
    return entry.sha256 or f"-> {entry.target}"


def _summary(run: CommandRun, seen: _Seen, told: Told, *, unseen: bool) -> str:
    how = in_words(run.trial.ended, run.specification)
    if run.judged.tampered:
        return f"tampered: {listed(run.judged.tampered, 1)} changed or removed ({how} with the originals)"
    if seen.rewritten:
        return f"tampered: {listed(seen.rewritten, 1)} rewritten while the command ran ({how})"
    why_isolated = _why_isolated(run)
    if why_isolated is not None:
        return f"{how}, but {why_isolated}"
    if run.trial.ended.exit_code != 0:
        return how
    if seen.planted:
        return f"{how}, but {listed(seen.planted, 1)} was planted while the command ran"
    if told.why_no_pass is not None:
        return f"{how}, but {told.why_no_pass}"
    if unseen:
        return f"{how}, but what it read could not be seen: {run.trial.record.why_not}"
    return how


def _report(run: CommandRun, seen: _Seen, told: Told, *, unseen: bool) -> str:
    """What the agent is told beside the lists of tampered and added files: the end of what the command said."""
    parts: list[str] = []
    ended = run.trial.ended
    if seen.rewritten:
        parts.append(
            f"These files were rewritten while the command ran, so its result proves nothing: {listed(seen.rewritten, PATHS_NAMED_MAX)}. "
            "The work must not touch them."
        )
    if seen.planted:
        parts.append(
            f"These files appeared while the command ran and were then read as if they were the judge's: {listed(seen.planted, PATHS_NAMED_MAX)}. "
            "So the result proves nothing; the work must not make them."
        )
    if run.judged.shadowing:
        parts.append(
            f"These modules would stand in for the judge's own and are left as they were: {listed(run.judged.shadowing, PATHS_NAMED_MAX)}. "
            "Give them other names."
        )
    why_isolated = _why_isolated(run)
    if why_isolated is not None:
        parts.append(f"The work runs in a sandbox of its own, but {why_isolated}. So nothing is proved.")
    if ended.is_timed_out:
        parts.append("The command did not end in time and was killed.")
    elif ended.exit_code == 0 and told.why_no_pass is not None:
        parts.append(f"The command ended with code 0, but {told.why_no_pass}, so nothing is proved.")
    if unseen:
        parts.append(
            f"What the command read could not be seen ({run.trial.record.why_not}), so nothing says on what it rests."
        )
    output = clean(ended.output).strip("\n")
    parts.append(shorten(output, head=OUTPUT_HEAD_CHARACTERS, tail=OUTPUT_TAIL_CHARACTERS) or "(no output)")
    return "\n\n".join(parts)


def _bounded(paths: Sequence[str]) -> tuple[str, ...]:
    if len(paths) <= PATHS_REPORTED_MAX:
        return tuple(paths)
    return (*paths[:PATHS_REPORTED_MAX], f"… and {len(paths) - PATHS_REPORTED_MAX} more")


def _proposed(work_left: Sequence[str]) -> tuple[str, ...]:
    """Globs for `--work`: the folders of what was opened and is no judge's; nothing where they are too many to read."""
    globs = dict.fromkeys(f"{path.partition('/')[0]}/**" if "/" in path else path for path in work_left)
    return tuple(globs) if len(globs) <= 8 else ()


def _evidence(run: CommandRun, seen: _Seen, told: Told) -> JsonObject:
    """What lets someone else repeat the run and compare; digests cover all files, also beyond those listed."""
    record, ended = run.trial.record, run.trial.ended
    hashes = [(file.path, file.sha256 or f"-> {file.target}") for file in run.protection.files]
    return {
        "command": run.specification.command,
        "exit_code": ended.exit_code,
        "timed_out": ended.is_timed_out,
        "timeout_seconds": run.specification.timeout_seconds,
        "duration_seconds": ended.duration_seconds,
        "image_digest": run.image.digest,
        "tree_digest": run.tree_digest,
        "work_tree_digest": run.request.tree_digest,
        "protected": [_told(file) for file in run.protection.files[:PROTECTED_REPORTED_MAX]],
        "protected_count": len(hashes),
        "protected_digest": _digest_of(hashes),
        "rewritten": list[JsonValue](_bounded(seen.rewritten)),
        "shadowing": list[JsonValue](_bounded(run.judged.shadowing)),
        "reads": {
            "mechanism": record.mechanism,
            "complete": record.is_complete,
            "why_not": record.why_not,
            "given": [path for path, _ in seen.given[:GIVEN_REPORTED_MAX]],
            "given_count": len(seen.given),
            "given_digest": _digest_of(seen.given),
            "changed": [
                {"path": path, "input_sha256": was, "sha256": now}
                for path, was, now in seen.changed[:PATHS_REPORTED_MAX]
            ],
            "added": list[JsonValue](_bounded(seen.added)),
            "planted": list[JsonValue](_bounded(seen.planted)),
        },
        "cases": _plain_cases(told.cases),
        "judged_in_process": told.judged_in_process,
        "isolated": None if run.trial.isolated is None else {"calls": run.trial.isolated.calls},
        "output_bytes": ended.output_bytes_total,
        "provider": run.capabilities.provider,
        "isolation": run.capabilities.isolation,
        "not_held": list[JsonValue](run.capabilities.missing_walls),
        "network": "none" not in run.capabilities.network_modes,
        "mounts": {mount.path: mount.tree_digest for mount in run.request.mounts},
    }


def _plain_cases(cases: CasesVerdict | None) -> JsonValue:
    return cast(
        "JsonValue", msgspec.json.decode(msgspec.json.encode(cases))
    )  # lists, where values have tuples


def _told(file: ProtectedFile) -> JsonObject:
    return {"path": file.path, "reason": file.reason, "sha256": file.sha256, "target": file.target}


def _digest_of(pairs: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(msgspec.json.encode(pairs)).hexdigest()
