"""How a command ends other than well: what happened, the mend, and the exit code."""

from __future__ import annotations

from remit.errors import RemitError

EXIT_VERIFIED = 0
EXIT_NOT_VERIFIED = 1
"""Also: anything that went wrong after the command line was understood."""
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandFailed(RemitError):
    """Ends the command with one line on stderr, and one more with the mend where there is one."""

    def __init__(self, message: str, *, mend: str | None = None, exit_code: int = EXIT_NOT_VERIFIED) -> None:
        super().__init__(message)
        self.mend = mend
        self.exit_code = exit_code


class BadUsage(CommandFailed):
    """The command line, or what it names, cannot be used as it is. Nothing was done."""

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message, mend=mend, exit_code=EXIT_USAGE)
