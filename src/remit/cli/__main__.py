"""`python -m remit.cli` is the program `remit`."""

from remit.cli.main import main

main()
