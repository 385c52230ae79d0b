"""The verifier that runs a command on the work, where the agent cannot reach. What it promises: design/verification.md."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import msgspec
from anyio import CancelScope, to_thread

from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.trees import read_tree
from remit.errors import VerifierUnavailable
from remit.ids import Ids
from remit.interfaces import CallRecorder, SandboxProvider
from remit.schema import verifiers as schema
from remit.values import (
    GROUND_FILES,
    ExecRequest,
    Ground,
    ImageInfo,
    JsonObject,
    Principal,
    ReadOnlyTree,
    SandboxSpec,
    Tree,
    Verdict,
    VerifyRequest,
)
from remit.verifiers.baseline import Baseline, baseline_key, load_baseline
from remit.verifiers.binding import read_only_paths
from remit.verifiers.case_files import case_files
from remit.verifiers.isolation import WorkIsolation, isolate
from remit.verifiers.judged import Judged, judge_tree
from remit.verifiers.make_ground import makefile_of
from remit.verifiers.patterns import ProtectedPatterns
from remit.verifiers.programs import Needs, needs_of
from remit.verifiers.protected import Protection, protection_of
from remit.verifiers.reports import RunReport, pack_report
from remit.verifiers.specifications import describe, parse_command
from remit.verifiers.spoken import REPORTER, spoken_by
from remit.verifiers.syntax import refuse_unreadable
from remit.verifiers.texts import read_through
from remit.verifiers.trials import ROOT, Trials
from remit.verifiers.verdicts import CommandRun, untouched_verdict, verdict

_PROBE_SECONDS = 20.0
_EPOCH = 0
_MAKEFILE = "makefile"
_TEXTS_MAX = 400
"""Of a judge's files, in which the names of its cases are looked for."""


class CommandVerifier:
    """Implements `Verifier` for `{"type": "command"}`."""

    type = "command"

    def __init__(self, provider: SandboxProvider, blobs: OwnedBlobs, ids: Ids) -> None:
        self._provider = provider
        self._blobs = blobs
        self._ids = ids
        self._trials = Trials(provider, ids)

    def is_priced(self, verifier: JsonObject) -> bool:
        return False

    async def check(
        self,
        principal: Principal,
        verifier: JsonObject,
        *,
        toolchains: Sequence[str] = (),
        has_packages: bool = False,
    ) -> None:
        specification = parse_command(verifier)
        ProtectedPatterns(
            protect=specification.protect, unprotect=specification.unprotect, work=specification.work
        )
        if specification.isolate and self._provider.capabilities().isolation == "none":
            raise VerifierUnavailable(
                f"verifier {describe(verifier)!r} asks for --isolate, and programs here run without a sandbox "
                "(--unsafe-local): nothing would keep the work from its judge. Use bubblewrap, or leave --isolate out."
            )
        await refuse_unreadable(specification.command)
        needs = needs_of(specification.command)
        if has_packages:
            return  # they are not installed yet: what is missing then shows when the command runs
        refuse_tree_programs(verifier, needs, ())
        image = await self._provider.image(toolchains)
        for program in needs.programs:
            if program not in image.programs:
                raise _missing(verifier, program, image)
        for interpreter, module in needs.modules:
            if module not in image.programs and not await self._has_module(interpreter, module, toolchains):
                raise _missing(verifier, f"{interpreter} -m {module}", image)

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict:
        """See Verifier. Without a baseline the command is first run on the untouched input."""
        specification = parse_command(request.verifier)
        refuse_tree_programs(request.verifier, needs_of(specification.command), request.mounts)
        given = await read_tree(self._blobs, request.input_tree_digest)
        work = await read_tree(self._blobs, request.tree_digest)
        key = baseline_key(specification, request.input_tree_digest, request.outcome)
        baseline: Baseline | None = None
        if request.baseline_digest is not None:
            baseline = await load_baseline(self._blobs, request.baseline_digest)
        if baseline is None or baseline.key != key:
            is_untouched = work.entries == given.entries
            if is_untouched or given.entries:
                untouched, baseline = await self._measure(request, specification, given, key)
                if is_untouched:
                    return untouched
        return await self._judge(request, specification, given, work, baseline)

    async def _measure(
        self, request: VerifyRequest, specification: schema.CommandVerifier, given: Tree, key: str
    ) -> tuple[Verdict, Baseline]:
        """Run the command on the untouched input: what it opens and rewrites decides what is protected."""
        digest = await self._blobs.put(request.principal, request.stream_id, given.encode())
        image = await self._provider.image(request.toolchains)
        own = msgspec.structs.replace(request, verification_id=f"{request.verification_id}.input")
        run_it = partial(
            self._trials.run,
            own,
            specification,
            tree=given,
            tree_digest=digest,
            ground=Ground(),
            environment={},
        )
        trial = await run_it()
        reading = await read_through(
            self._blobs,
            given,
            lambda read: protection_of(
                given,
                specification.command,
                outcome=request.outcome,
                opened=trial.record.opened if trial.record.is_complete else None,
                holding_cases=case_files(trial.report, trial.record.opened),
                read=read,
                protect=specification.protect,
                unprotect=specification.unprotect,
                work=specification.work,
            ),
        )
        protection = with_source_roots(reading, request.environment)
        plain = trial
        isolation = await self._isolation(request, specification, given, given, protection)
        if isolation is not None:
            trial = await run_it(isolation=isolation)
        report = trial.report and await self._of_the_judge(
            trial.report, given, specification.command, protection, plain.record.opened
        )
        baseline = Baseline(
            key=key,
            exit_code=trial.ended.exit_code,
            opened=plain.record.opened,
            rewrites=tuple(sorted(plain.changed | trial.changed)),
            created=tuple(sorted({*plain.record.created, *trial.record.created})),
            packed_report=None if report is None else pack_report(report),
            protection=protection,
        )
        baseline_digest = await self._blobs.put(request.principal, request.stream_id, baseline.encode())
        run = CommandRun(
            request=own,
            specification=specification,
            given=given,
            judged=Judged(tree=given, tampered=(), added=()),
            tree_digest=digest,
            trial=trial,
            protection=protection,
            patterns=patterns_of(specification, protection),
            baseline=None,
            image=image,
            capabilities=self._provider.capabilities(),
        )
        return untouched_verdict(run, baseline, baseline_digest), baseline

    async def _of_the_judge(
        self, report: RunReport, given: Tree, command: str, protection: Protection, opened: Sequence[str]
    ) -> RunReport:
        """The report without what only the work can have said."""
        paths = sorted({file.path for file in protection.files}.intersection(opened))
        if all(run.reporter != REPORTER for run in report.runs) or len(paths) > _TEXTS_MAX:
            return report
        texts = await read_through(self._blobs, given, lambda read: [read(path) for path in paths])
        known = [text for text in texts if text is not None]
        is_whole = len(known) == len(paths)
        return spoken_by(report, [command, *paths, *known]) if is_whole else report

    async def _judge(
        self,
        request: VerifyRequest,
        specification: schema.CommandVerifier,
        given: Tree,
        work: Tree,
        baseline: Baseline | None,
    ) -> Verdict:
        """Run the command on the work, with what is protected as it was in the input and out of the work's reach."""
        protection = baseline.protection if baseline is not None else Protection(files=())
        image = await self._provider.image(request.toolchains)
        patterns = patterns_of(specification, protection)
        judged = await to_thread.run_sync(
            partial(
                judge_tree,
                given,
                work,
                protection,
                patterns,
                rewritable=frozenset(baseline.rewrites if baseline is not None else ()),
                made=frozenset(baseline.created if baseline is not None else ()),
                judge_modules=frozenset(image.python.modules),
            )
        )
        digest = await self._blobs.put(request.principal, request.stream_id, judged.tree.encode())
        makefile = await read_through(self._blobs, given, lambda read: makefile_of(given, judged.tree, read))
        busy = (*baseline.rewrites, *baseline.created) if baseline is not None else ()
        trial = await self._trials.run(
            request,
            specification,
            tree=judged.tree,
            tree_digest=digest,
            ground=Ground(
                read_only=read_only_paths(judged.tree, (file.path for file in protection.files), busy),
                files={_MAKEFILE: makefile} if makefile is not None else {},
            ),
            environment={"MAKEFILES": f"{GROUND_FILES}/{_MAKEFILE}"} if makefile is not None else {},
            isolation=await self._isolation(request, specification, given, judged.tree, protection),
        )
        return verdict(
            CommandRun(
                request=request,
                specification=specification,
                given=given,
                judged=judged,
                tree_digest=digest,
                trial=trial,
                protection=protection,
                patterns=patterns,
                baseline=baseline,
                image=image,
                capabilities=self._provider.capabilities(),
            )
        )

    async def _isolation(
        self,
        request: VerifyRequest,
        specification: schema.CommandVerifier,
        given: Tree,
        judged: Tree,
        protection: Protection,
    ) -> WorkIsolation | None:
        """What keeps judge and work apart, where that is asked for."""
        if not specification.isolate:
            return None
        put = partial(self._blobs.put, request.principal, request.stream_id)
        protected = frozenset(file.path for file in protection.files)
        return await isolate(self._blobs, put, given, judged, protected)

    async def _has_module(self, interpreter: str, module: str, toolchains: Sequence[str]) -> bool:
        """Ask the interpreter itself, in an empty sandbox of the same image."""
        probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        key = self._ids.new("vprobe")
        sandbox = await self._provider.create(
            SandboxSpec(key=key, epoch=_EPOCH, toolchains=tuple(toolchains))
        )
        try:
            ended = await sandbox.exec(
                ExecRequest(
                    call_id=key,
                    epoch=_EPOCH,
                    argv=(interpreter, "-c", probe),
                    timeout_seconds=_PROBE_SECONDS,
                )
            )
        finally:
            with CancelScope(shield=True):
                await sandbox.destroy()
        return ended.exit_code == 0


def refuse_tree_programs(verifier: JsonObject, needs: Needs, mounts: Sequence[ReadOnlyTree]) -> None:
    """Raise VerifierUnavailable for a program of the working tree; what a setup made there is mounted read-only, and the
    work cannot change it."""
    folders = tuple(f"{mount.path.removeprefix(f'{ROOT}/').rstrip('/')}/" for mount in mounts)
    for program in needs.tree_programs:
        if not posixpath.normpath(program.removeprefix(f"{ROOT}/")).startswith(folders):
            raise VerifierUnavailable(
                f"verifier {describe(verifier)!r} runs {program!r} from the working tree, which the agent can change. Name the "
                "program alone (pytest, python) and add its folder to the image: --toolchain DIR (for a virtual environment, "
                'the folder that has bin/); or have it made before the work: --setup "npm ci".'
            )


def with_source_roots(protection: Protection, environment: Mapping[str, str]) -> Protection:
    """The protection with the folders of the tree that come first on Python's path: a judge looks there for modules."""
    folders = environment.get("PYTHONPATH", "").split(":")
    roots = {path.removeprefix(ROOT).strip("/") for path in folders if f"{path}/".startswith(f"{ROOT}/")}
    return replace(protection, places=tuple(sorted({*protection.places, *roots})))


def patterns_of(specification: schema.CommandVerifier, protection: Protection) -> ProtectedPatterns:
    """The shipped list with what the verifier and the reading of its command add and release."""
    return ProtectedPatterns(
        protect=specification.protect,
        unprotect=specification.unprotect,
        work=specification.work,
        globs=protection.globs,
    )


def _missing(verifier: JsonObject, program: str, image: ImageInfo) -> VerifierUnavailable:
    return VerifierUnavailable(
        f"verifier {describe(verifier)!r} needs {program!r}, which is not in the image ({image.description}). Add the folder "
        "that has it, a virtual environment for instance: --toolchain DIR",
        details={"program": program},
    )
