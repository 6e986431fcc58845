"""`python -m deeper`."""

from deeper.cli import main

# Guarded, because a spawned process of the standard library imports the main module again.
if __name__ == "__main__":
    main()
