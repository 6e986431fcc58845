"""`python -m deeper`."""

from deeper.cli import main

main()
