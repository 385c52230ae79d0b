"""The program `remit`: next to nothing is imported here, so that Ctrl-C in the first milliseconds is words too."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from remit.cli.visible import make_visible

        make_visible()
        if sys.argv[1:] == ["up"]:
            # How services start, and start again after a crash: there is nothing to read in this line, and what reads
            # command lines would be a fifth of the start.
            from remit.cli.up import run as run_command_line
        else:
            from remit.cli.main import main as run_command_line
    except KeyboardInterrupt:
        print("remit: interrupted before anything began", file=sys.stderr)
        sys.exit(130)
    run_command_line()
