"""The failures that end a command: what happened, the mend, and the exit code."""

from __future__ import annotations

import os
import sys
from typing import cast

from remit.errors import BadInput, InvalidRequest, LocalFailure, RemitError

EXIT_VERIFIED = 0
EXIT_NOT_VERIFIED = 1
"""Also: anything that went wrong after the command line was understood."""
EXIT_USAGE = 2
EXIT_PAUSED = 75
"""A try later may do: no model answers, and everything is kept (EX_TEMPFAIL of sysexits.h)."""
EXIT_INTERRUPTED = 130


class CommandFailed(LocalFailure):
    """Ends the command with one line on stderr, and one more with the mend where there is one."""

    def __init__(self, message: str, *, mend: str | None = None, exit_code: int = EXIT_NOT_VERIFIED) -> None:
        super().__init__(message, mend=mend)
        self.exit_code = exit_code


class BadUsage(CommandFailed):
    """The command line, or what it names, cannot be used as it is. Nothing was done."""

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message, mend=mend, exit_code=EXIT_USAGE)


def explain(error: BaseException) -> int:
    """Say what happened and the mend on stderr. Never a traceback, unless REMIT_DEBUG asks for it."""
    error = innermost(error)
    if os.environ.get("REMIT_DEBUG"):
        raise error
    match error:
        case KeyboardInterrupt():
            return say(
                "interrupted", "`remit ls` shows what there is; nothing of it is lost.", EXIT_INTERRUPTED
            )
        case CommandFailed():
            return say(error.message, error.mend, error.exit_code)
        case LocalFailure():
            return say(error.message, error.mend, exit_code_of(error))
        case RemitError():
            return say(error.message, None, exit_code_of(error))
        case BrokenPipeError():
            # The reader has gone (`remit ls | head`): nothing to say, and nobody to say it to.
            _drop_output()
            return EXIT_NOT_VERIFIED
        case OSError() if (lost := lost_output()) is not None:
            return lost
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            return say(f"{error.strerror or error}{where}", None, EXIT_NOT_VERIFIED)
        case SystemExit():
            raise error
        case _:
            return say(
                f"an error of Remit itself: {type(error).__name__}: {error}",
                "Nothing that was logged is lost. REMIT_DEBUG=1 shows where it happened; please report it.",
                EXIT_NOT_VERIFIED,
            )


def innermost(error: BaseException) -> BaseException:
    """Unwrap an error from the exception groups that carry it."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def lost_output() -> int | None:
    """Write out what was printed. Where that cannot be, say so once and give the exit code."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):
            return EXIT_NOT_VERIFIED
        return say(
            f"What it printed could not be written: {error.strerror}.",
            "Nothing that was logged is lost; `remit ls` shows what there is.",
            EXIT_NOT_VERIFIED,
        )
    return None


def _drop_output() -> None:
    """Nothing more is printed, nor tried to be at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code_of(error: RemitError) -> int:
    """Return the exit code: one where the server refused what was typed, another where something failed."""
    status: object = getattr(error, "status", None)
    if isinstance(error, InvalidRequest | BadInput) or status in {400, 404, 413}:
        return EXIT_USAGE
    return EXIT_NOT_VERIFIED


def say(message: str, mend: str | None, exit_code: int) -> int:
    """Words on stderr; gives the exit code."""
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
