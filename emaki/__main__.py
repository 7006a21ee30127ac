"""`python -m emaki`: the command `emaki`."""

from emaki.command.program import main

if __name__ == "__main__":
    main()
