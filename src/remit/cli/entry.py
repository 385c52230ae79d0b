"""The program `remit`: next to nothing is imported here, so that Ctrl-C in the first milliseconds is words too."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from remit.cli.main import main as run_command_line
    except KeyboardInterrupt:
        print("remit: interrupted before anything began", file=sys.stderr)
        sys.exit(130)
    run_command_line()
