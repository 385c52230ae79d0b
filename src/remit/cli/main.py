"""The command line: what can be typed, and the one place where a failure becomes words and an exit code.

The modules behind the commands are imported when a command runs: `remit --help` needs none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.exceptions import Abort, Exit, TyperException

from remit.cli.failure import EXIT_INTERRUPTED, EXIT_NOT_VERIFIED, EXIT_USAGE, BadUsage, CommandFailed
from remit.errors import InvalidRequest, RemitError

if TYPE_CHECKING:
    from rich.console import Console

    from remit.cli.connect import Opener, PlatformOptions

_EXIT_CODES = """Exit codes: 0 verified (for other commands: done), 1 not verified or failed, 2 bad usage,
130 interrupted."""

PIPED_CELLS = 160
"""Columns of output that goes to no terminal: wide enough that nothing of use is cut."""

Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The data folder (REMIT_DATA, else ~/.remit).")
]
UnsafeLocal = Annotated[
    bool, typer.Option("--unsafe-local", help="Run without a sandbox, where none can be had. Not isolated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
RemitId = Annotated[str, typer.Argument(metavar="ID", help="A remit's id, or the end of it.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the result goes (a new folder).")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Consent to the forecast without being asked.")]

app = typer.Typer(
    name="remit",
    help=f"Say what done means and what you will pay; get it back verified, with a receipt.\n\n{_EXIT_CODES}",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


keys_app = typer.Typer(
    name="keys",
    help="Keys of the API: who may call it. Needs an operator's key.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_app)

Workspace = Annotated[
    str | None, typer.Option(metavar="ID", help="Another workspace than the operator's (wrkspc_…).")
]
Expires = Annotated[str | None, typer.Option(metavar="TIME", help="Valid for so long: 30m, 12h, 7d, 4w.")]


@app.command(name="up")
def up_command(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address to serve on (127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port (8400); 0 takes any that is free.")
    ] = None,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Serve the API and live pages until it is stopped."""
    from remit.cli import up

    platform = _platform(data, unsafe_local)
    return _run(lambda: up.up(platform, _console(), host=host, port=port))


@keys_app.command(name="create")
def keys_create_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="`*` (all of its workspace, the default), `operator`, `read`, `read:ID`. Repeatable.",
        ),
    ] = None,
    expires: Expires = None,
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Make a key; its secret is shown once."""
    from remit.cli import keys

    seconds = keys.parse_duration(expires)
    platform = _platform(data, unsafe_local)
    return _run(
        lambda: keys.create(
            _opener(context),
            platform,
            _console(),
            name=name,
            scopes=scope or [],
            expires=seconds,
            workspace=workspace,
            is_json=json,
        )
    )


@keys_app.command(name="list")
def keys_list_command(
    context: typer.Context,
    all: Annotated[bool, typer.Option("--all", help="Also the tokens of links.")] = False,
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """List keys, newest first; never their secrets."""
    from remit.cli import keys

    platform = _platform(data, unsafe_local)
    return _run(
        lambda: keys.list_keys(
            _opener(context), platform, _console(), workspace=workspace, is_all=all, is_json=json
        )
    )


@keys_app.command(name="revoke")
def keys_revoke_command(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The key's id (apikey_…).")],
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Refuse a key from now on."""
    from remit.cli import keys

    platform = _platform(data, unsafe_local)
    return _run(
        lambda: keys.revoke(
            _opener(context), platform, _console(), key_id=id, workspace=workspace, is_json=json
        )
    )


@app.command(name="link")
def link_command(
    context: typer.Context,
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="A remit or session; left out: the list of all.")
    ] = None,
    expires: Expires = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Print the address of a live read-only page, while `remit up` runs."""
    from remit.cli import keys

    seconds = keys.parse_duration(expires)
    platform = _platform(data, unsafe_local)
    return _run(
        lambda: keys.link(_opener(context), platform, _console(), id=id, expires=seconds, is_json=json)
    )


@app.command(name="do")
def do_command(
    context: typer.Context,
    outcome: Annotated[
        str | None, typer.Argument(metavar="OUTCOME", help="What must be true at the end.")
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option("--input", metavar="DIR", help="A folder to work on; it is copied, never touched."),
    ] = None,
    verify: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND", help="Passes (exit code 0) when it is done. Repeatable."),
    ] = None,
    rubric: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A text by which a model judges the result.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AMOUNT", help="Never more than this: 2 (dollars) or 50000tokens. Repeat for both."
        ),
    ] = None,
    protect: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="More files the agent may not change. Repeatable."),
    ] = None,
    unprotect: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Files it may change after all. Repeatable.")
    ] = None,
    toolchain: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A folder of programs to put into the sandbox. Repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="The model that works.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="An agent's name or id.")] = None,
    max_iterations: Annotated[
        int | None, typer.Option(min=1, max=20, help="How often the result may be revised.")
    ] = None,
    out: Out = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="ID", help="Go on with a remit instead of making one.")
    ] = None,
    yes: Yes = False,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Carry out an outcome within a budget, and verify it."""
    from remit.cli import do as command
    from remit.cli.options import parse_budget

    platform = _platform(data, unsafe_local)
    manner = command.Manner(out=out, is_yes=yes, is_json=json)
    if resume is not None:
        given = [
            outcome,
            input,
            verify,
            rubric,
            budget,
            protect,
            unprotect,
            toolchain,
            model,
            agent,
            max_iterations,
        ]
        if any(value is not None for value in given):
            raise BadUsage(
                "--resume goes on with a remit as it was made.",
                mend="Give only --out, --yes or --json with it, or leave --resume away to make a new one.",
            )
        return _run(lambda: command.resume(_opener(context), platform, resume, manner, _console()))
    if outcome is None or not outcome.strip():
        raise BadUsage(
            "There is no outcome.",
            mend='Say what must be true: remit do "the tests pass" --input . --verify "pytest -q" --budget 1',
        )
    options = command.DoOptions(
        outcome=outcome,
        budget=parse_budget(budget or []),
        folder=input,
        commands=tuple(verify or ()),
        rubric=rubric,
        protect=tuple(protect or ()),
        unprotect=tuple(unprotect or ()),
        toolchains=tuple(toolchain or ()),
        model=model,
        agent=agent,
        max_iterations=max_iterations,
    )
    return _run(lambda: command.do(_opener(context), platform, options, manner, _console()))


@app.command(name="ls")
def ls_command(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """List remits, newest first."""
    from remit.cli import look

    platform = _platform(data, unsafe_local)
    return _run(lambda: look.list_remits(_opener(context), platform, _console(), limit=limit, is_json=json))


@app.command(name="show")
def show_command(
    context: typer.Context,
    id: RemitId,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Show one remit as it is now."""
    from remit.cli import look

    platform = _platform(data, unsafe_local)
    return _run(lambda: look.show(_opener(context), platform, id, _console(), is_json=json))


@app.command(name="watch")
def watch_command(
    context: typer.Context,
    id: RemitId,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Watch a remit at work; leaving does not interrupt it."""
    from remit.cli import do as command

    platform = _platform(data, unsafe_local)
    manner = command.Manner(is_json=json)
    return _run(lambda: command.watch(_opener(context), platform, id, manner, _console()))


@app.command(name="receipt")
def receipt_command(
    context: typer.Context,
    id: RemitId,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained HTML file.")
    ] = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Show what was spent on what, with the evidence."""
    from remit.cli import look

    platform = _platform(data, unsafe_local)
    return _run(lambda: look.receipt(_opener(context), platform, id, _console(), html=html, is_json=json))


@app.command(name="apply")
def apply_command(
    context: typer.Context,
    id: RemitId,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Another folder than the input's.")] = None,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Land a result in the folder it came from, wholly or not at all."""
    from remit.cli import look

    platform = _platform(data, unsafe_local)
    return _run(lambda: look.apply(_opener(context), platform, id, _console(), to=to))


@app.command(name="verify")
def verify_command(
    context: typer.Context,
    id: RemitId,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Run the verifiers again on a result."""
    from remit.cli import look

    platform = _platform(data, unsafe_local)
    return _run(lambda: look.verify(_opener(context), platform, id, _console(), is_json=json))


@app.command(name="check")
def check_command(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(metavar="ID", help="A remit's id, or the end of it.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Check every remit.")] = False,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Check what must always hold of logs and accounts."""
    from remit.cli import look

    if all == (id is not None):
        raise BadUsage("check takes one remit's id, or --all.", mend="`remit ls` shows the ids.")
    platform = _platform(data, unsafe_local)
    return _run(lambda: look.check(_opener(context), platform, id, _console(), is_json=json))


@app.command(name="doctor")
def doctor_command(
    context: typer.Context, json: Json = False, data: Data = None, unsafe_local: UnsafeLocal = False
) -> int:
    """Show what works on this machine, and the mend of what does not."""
    from remit.cli import look

    platform = _platform(data, unsafe_local)
    return _run(lambda: look.doctor(_opener(context), platform, _console(), is_json=json))


def main() -> None:
    """The program `remit`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], opener: Opener | None = None) -> int:
    """Run one command line; `opener` opens the platform (tests give one of their own). Gives the exit code."""
    try:
        result: object = app(args=list(arguments), prog_name="remit", standalone_mode=False, obj=opener)
        return result if isinstance(result, int) else 0
    except BaseException as error:
        return _explain(error)


def _explain(error: BaseException) -> int:
    """Say what happened and the mend on stderr. Never a traceback, unless REMIT_DEBUG asks for it."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if os.environ.get("REMIT_DEBUG"):
        raise error
    match error:
        case Exit():
            return error.exit_code
        case KeyboardInterrupt() | Abort():
            return _say(
                "interrupted", "`remit ls` shows what there is; nothing of it is lost.", EXIT_INTERRUPTED
            )
        case TyperException():
            return _say(
                error.format_message(),
                "`remit --help` and `remit COMMAND --help` show what can be typed.",
                EXIT_USAGE,
            )
        case CommandFailed():
            return _say(error.message, error.mend, error.exit_code)
        case RemitError():
            return _say(error.message, None, _exit_code_of(error))
        case BrokenPipeError():
            # The reader has gone (`remit ls | head`): nothing to say, and nobody to say it to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_NOT_VERIFIED
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            return _say(f"{error.strerror or error}{where}", None, EXIT_NOT_VERIFIED)
        case SystemExit():
            raise error
        case _:
            return _say(
                f"an error of Remit itself: {type(error).__name__}: {error}",
                "Nothing that was logged is lost. REMIT_DEBUG=1 shows where it happened; please report it.",
                EXIT_NOT_VERIFIED,
            )


def _exit_code_of(error: RemitError) -> int:
    """Whether the server refused what was typed, or something failed."""
    status: object = getattr(error, "status", None)
    if isinstance(error, InvalidRequest) or status in {400, 404, 413}:
        return EXIT_USAGE
    return EXIT_NOT_VERIFIED


def _say(message: str, mend: str | None, exit_code: int) -> int:
    print(_wrapped("remit: ", message), file=sys.stderr)
    if mend:
        print(_wrapped("       ", mend), file=sys.stderr)
    return exit_code


def _wrapped(label: str, text: str) -> str:
    """Broken between words on a terminal; left as it is for a program that reads it."""
    if not sys.stderr.isatty():
        return label + text
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    first, *rest = text.splitlines() or [""]
    wrapped = textwrap.fill(
        first,
        width,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([wrapped, *rest])


def _run(command: Callable[[], Coroutine[Any, Any, int]]) -> int:
    import anyio

    return anyio.run(command)


def _opener(context: typer.Context) -> Opener:
    from remit.cli.connect import open_this_platform

    return cast("Opener | None", context.obj) or open_this_platform


def _platform(data: Path | None, unsafe_local: bool) -> PlatformOptions:
    from remit.cli.connect import PlatformOptions

    return PlatformOptions(data=data, is_unsafe_local=unsafe_local)


def _console() -> Console:
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    from remit.cli.screens import TrimmedOutput

    width = None if "COLUMNS" in os.environ else PIPED_CELLS
    return Console(
        file=cast("IO[str]", TrimmedOutput(sys.stdout)),
        highlight=False,
        markup=False,
        emoji=False,
        width=width,
    )
