"""`python -m remit.cli` is the program `remit`."""

from remit.cli.entry import main

main()
