"""The command line: what can be typed.

The modules behind the commands are imported when a command runs: `remit --help` needs none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import Abort, Exit, TyperException
from typer.main import get_command

from remit.cli import model, money, serving
from remit.cli.failure import EXIT_USAGE, BadUsage, explain, lost_output, say
from remit.cli.general_options import Running, command, group
from remit.cli.visible import visible_output

if TYPE_CHECKING:
    from remit.cli.connect import Invocation, Opener

_EXIT_CODES = """Exit codes: 0 verified (for other commands: done), 1 not verified or failed, 2 bad usage,
75 paused (no model answers; it can go on), 130 interrupted."""

RemitId = Annotated[str, typer.Argument(metavar="ID", help="A remit's id, or the end of it.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the result goes (a new folder).")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Consent to the forecast's cost without being asked.")]

app = group(
    "remit",
    f"Say what done means and what you will pay; get it back verified, with a receipt.\n\n{_EXIT_CODES}",
    add_completion=False,
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        print(f"remit {version('remit')}")
        raise Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Say what done means and what you will pay; get it back verified, with a receipt."""


@command(app, "do")
def do_command(
    invocation: Invocation,
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
    work: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="The files it may change; all others are protected. Repeatable."),
    ] = None,
    isolate: Annotated[
        bool,
        typer.Option("--isolate", help="Judge the work as a program, in a sandbox of its own."),
    ] = False,
    toolchain: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A folder of programs to put into the sandbox. Repeatable."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Send this too though git ignores it: node_modules, .env. Repeatable."
        ),
    ] = None,
    setup: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help='Run once before all, with the package registries: "npm ci".'),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An environment's name or id: network, packages, variables."),
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
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Leave when no model has answered for so long: 15m (the default without a terminal), 90s, 2h.",
        ),
    ] = None,
    yes: Yes = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave when the work begins; it goes on in the background.")
    ] = False,
    despite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REASON",
            help="Go on although a verifier is vacuous, cannot_run, work_unclear, unseen or drafted. Repeatable.",
        ),
    ] = None,
) -> Running:
    """Carry out an outcome within a budget, and verify it."""
    from remit.cli import do
    from remit.cli.consent import is_at_a_terminal
    from remit.cli.options import consent_above_usd, parse_budget, parse_despite, parse_wait

    run_options = do.RunOptions(
        above_usd=consent_above_usd(os.environ),
        out=out,
        is_yes=yes,
        despite=parse_despite(despite or ()),
        wait_seconds=parse_wait(wait, is_at_a_terminal=is_at_a_terminal()),
        is_detached=detach,
    )
    options = do.DoOptions(
        outcome=outcome or "",
        folder=input,
        commands=tuple(verify or ()),
        rubric=rubric,
        protect=tuple(protect or ()),
        unprotect=tuple(unprotect or ()),
        work=tuple(work or ()),
        is_isolated=isolate,
        toolchains=tuple(toolchain or ()),
        include=tuple(include or ()),
        setup=setup,
        environment=environment,
        model=model,
        agent=agent,
        max_iterations=max_iterations,
    )
    if resume is not None:
        if options != do.DoOptions():
            raise BadUsage(
                "--resume goes on with a remit as it was made.",
                mend="Give only --budget, --out, --wait, --yes, --detach, --despite or --json with it, or leave --resume away "
                "to make a new one.",
            )
        raised = parse_budget(budget) if budget else None
        return do.resume(invocation, resume, run_options, budget=raised)
    if not options.outcome.strip():
        raise BadUsage(
            "There is no outcome.",
            mend='Say what must be true: remit do "the tests pass" --input . --verify "pytest -q" --budget 1',
        )
    return do.do(invocation, options, parse_budget(budget or []), run_options)


@command(app, "ls")
def ls_command(
    invocation: Invocation,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
) -> Running:
    """List remits, newest first."""
    from remit.cli import read_commands

    return read_commands.list_remits(invocation, limit=limit)


@command(app, "show")
def show_command(invocation: Invocation, id: RemitId) -> Running:
    """Show one remit as it is now."""
    from remit.cli import read_commands

    return read_commands.show(invocation, id)


@command(app, "why")
def why_command(
    invocation: Invocation,
    id: Annotated[str, typer.Argument(metavar="ID", help="A remit's or a session's id, or the end of it.")],
) -> Running:
    """Say why a remit or session is where it is, and who can move it."""
    from remit.cli import why

    return why.why(invocation, id)


@command(app, "watch")
def watch_command(invocation: Invocation, id: RemitId) -> Running:
    """Watch a remit at work; leaving does not interrupt it."""
    from remit.cli import do

    return do.watch(invocation, id)


@command(app, "raise")
def raise_command(
    invocation: Invocation,
    id: RemitId,
    amount: Annotated[
        list[str], typer.Argument(metavar="AMOUNT", help="The whole new budget: 4 (dollars) or 90000tokens.")
    ],
) -> Running:
    """Raise the budget of a remit that reached it; it goes on with what it has."""
    from remit.cli import do
    from remit.cli.options import parse_budget

    budget = parse_budget(amount)
    return do.raise_budget(invocation, id, budget)


@command(app, "receipt")
def receipt_command(
    invocation: Invocation,
    id: RemitId,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained HTML file.")
    ] = None,
) -> Running:
    """Show what was spent on what, with the evidence."""
    from remit.cli import read_commands

    return read_commands.receipt(invocation, id, html=html)


@command(app, "apply", takes_json=False)
def apply_command(
    invocation: Invocation,
    id: RemitId,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Another folder than the input's.")] = None,
) -> Running:
    """Land a result in the folder it came from, wholly or not at all."""
    from remit.cli import read_commands

    return read_commands.apply(invocation, id, to=to)


@command(app, "verify")
def verify_command(invocation: Invocation, id: RemitId) -> Running:
    """Run the verifiers again on a result."""
    from remit.cli import read_commands

    return read_commands.verify(invocation, id)


@command(app, "check")
def check_command(
    invocation: Invocation,
    id: Annotated[str | None, typer.Argument(metavar="ID", help="A stream's id, or the end of it.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Check every remit.")] = False,
) -> Running:
    """Check what must always hold of logs and accounts."""
    from remit.cli import read_commands

    if all == (id is not None):
        raise BadUsage("check takes one id, or --all.", mend="`remit ls` shows the ids.")
    return read_commands.check(invocation, id)


@command(app, "doctor")
def doctor_command(invocation: Invocation) -> Running:
    """Show what works on this machine, and the mend of what does not."""
    from remit.cli import read_commands

    return read_commands.doctor(invocation)


app.add_typer(model.model_app)
serving.add_commands(app)
money.add_commands(app)


def main() -> None:
    """Run the program `remit`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], opener: Opener | None = None) -> int:
    """Run one command line; `opener` opens the platform (tests give one of their own). Gives the exit code."""
    with visible_output():
        code = _run(arguments, opener)
        lost = lost_output()
        return code if lost is None else lost


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty text would be taken for something: a folder for the one that one stands in, an id for every id."""
    for before, text in zip(("remit", *arguments), arguments, strict=False):
        where = text[:-1] if text.startswith("--") and text.endswith("=") else before
        if not text or where != before:
            raise BadUsage(
                f"There is an empty text after `{where}`.",
                mend="It may come from a shell variable that is not set.",
            )


def _run(arguments: Sequence[str], opener: Opener | None) -> int:
    try:
        _refuse_empty(arguments)
        # Not by calling `app`, which makes a silent exit code of Ctrl-C.
        command = get_command(app)
        with command.make_context("remit", list(arguments) or ["--help"], obj=opener) as context:
            result: object = command.invoke(context)
        return result if isinstance(result, int) else 0
    except Exit as asked:
        return asked.exit_code
    except Abort:
        return explain(KeyboardInterrupt())
    except TyperException as error:
        return say(
            error.format_message(),
            "`remit --help` and `remit COMMAND --help` show what can be typed.",
            EXIT_USAGE,
        )
    except BaseException as error:
        return explain(error)
