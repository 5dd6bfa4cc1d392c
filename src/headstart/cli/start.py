"""The command `headstart`: the version at once, all else by the command line, which takes longer to load."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:
        from headstart.version import __version__

        print(f"headstart {__version__}")
        return
    from headstart.cli.app import main as run

    run()
