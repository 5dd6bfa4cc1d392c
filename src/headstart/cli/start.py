"""The command `headstart`: the version at once, all else by the command line, which takes longer to load.

Loading takes a second or two: whoever ends the command meanwhile gets one line and the documented exit code
too.
"""

from __future__ import annotations

import os
import sys

from headstart.cli.ending import CLOSED_PIPE, GOES_ON, catch_endings


def main() -> None:
    """Run the command line."""
    _open_closed_streams()
    catch_endings(_end_now)
    if sys.argv[1:] == ["--version"]:
        _print_version()
        return
    from headstart.cli.app import main as run

    run()


def _end_now(number: int, _: object) -> None:
    """While modules load: nothing is begun yet that would have to be put in order."""
    os.write(2, f"headstart: {GOES_ON}\n".encode())
    os._exit(128 + number)


def _open_closed_streams() -> None:
    """Standard streams that a caller has closed lead nowhere: the next opened file must not become one."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", encoding="utf-8"))  # noqa: SIM115


def _print_version() -> None:
    from headstart.version import __version__

    try:
        print(f"headstart {__version__}", flush=True)
    except BrokenPipeError:
        os._exit(CLOSED_PIPE)
    except OSError as error:
        os.write(2, f"headstart: the output: {error.strerror}\n".encode())
        os._exit(6)
