"""`python -m headstart` is the command `headstart`."""

from headstart.cli.start import main

if __name__ == "__main__":
    main()
