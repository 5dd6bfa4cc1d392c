"""The command line: the commands come together here, and every deliberate error is one line.

A file holds a group of commands; each command parses its options, calls one function and prints.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from headstart.cli import browser, cache, data, evaluations, machine, model, reports, serve, study
from headstart.cli.ending import CLOSED_PIPE, GOES_ON, catch_endings
from headstart.errors import ConfigError, HeadstartError, StoreError
from headstart.runtime.begun import mark_beginning
from headstart.runtime.show import shown
from headstart.version import __version__

app = typer.Typer(
    help="Train a CNN from scratch, or start from a pretrained ResNet? Headstart runs both on your images' "
    "terms and shows what each reached and what it cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Datasets: fetch them, look at them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
for _command in (
    model.advise,
    model.predict,
    model.explain,
    model.export,
    serve.serve,
    browser.app,
    study.study,
    study.tune,
    reports.report,
    reports.findings,
    reports.publish,
    evaluations.robustness,
    evaluations.shift,
):
    app.command()(_command)
app.command("list")(machine.list_)
app.command()(machine.doctor)
app.command()(cache.cache)
data_app.command()(data.fetch)
data_app.command()(data.check)
data_app.command()(data.health)
_INTERRUPTED = 130
_signal = int(signal.SIGINT)  # the one that interrupted


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"headstart {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; every deliberate error is one line and its documented exit code."""
    mark_beginning()
    catch_endings(_interrupt)
    try:
        code = app(standalone_mode=False)
        if code == _INTERRUPTED:  # typer turns an interrupt into this
            _fail_interrupted()
        sys.stdout.flush()
        # The last collection would visit all that torch and pandas have made: 0.9 s of 3.6 in all.
        gc.freeze()
        sys.exit(code if isinstance(code, int) else 0)
    except HeadstartError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail_interrupted()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # which typer has met and made another exit of
            os._exit(CLOSED_PIPE)
        raise
    except BrokenPipeError:  # who read the output has gone, as `head` does
        os._exit(CLOSED_PIPE)
    except OSError as error:
        if error.errno is None:
            raise
        from headstart.store.durable import what_failed

        remedy = "free space or choose another folder (--out, HEADSTART_CACHE)"
        _fail(what_failed(error, error.filename or "the disk", remedy), StoreError.exit_code)
    except Exception as error:
        if str(error).startswith("Symlink loop from"):  # Path.resolve, before Python 3.13
            _fail(f"{error}; give another path", StoreError.exit_code)
        if hasattr(error, "format_message"):  # typer's and click's own usage errors
            _fail(f"{error.format_message()} (see headstart --help)", ConfigError.exit_code)
        if type(error).__name__ == "Abort":
            _fail_interrupted()
        raise


def _interrupt(number: int, _: object) -> None:
    """Every signal that asks for an end ends like Ctrl-C: files and child processes are put in order."""
    global _signal
    _signal = number
    raise KeyboardInterrupt


def _fail_interrupted() -> None:
    _fail(GOES_ON, 128 + _signal)


def _fail(message: str, code: int) -> None:
    for write in (
        lambda: print(f"headstart: {shown(message)}", file=sys.stderr, flush=True),
        sys.stdout.flush,
    ):
        with suppress(OSError):  # nobody reads it, or its disk is full: the code is the same
            write()
    # A download thread or a compute pool must not hold the exit up.
    os._exit(code)


if __name__ == "__main__":
    main()
