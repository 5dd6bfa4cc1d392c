"""The command line: parse, call one function, print."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headstart import __version__
from headstart.errors import ConfigError, HeadstartError, StoreError

app = typer.Typer(
    help="Train a CNN from scratch, or start from a pretrained ResNet? Headstart runs both on your images' terms and shows "
         "what each reached and what it cost.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
data_app = typer.Typer(help="Datasets: fetch them, look at them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
_out = Console(highlight=False)
_INTERRUPTED = 130
_GOES_ON = "interrupted; finished trials are kept and the same command goes on where this one stopped"


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        print(f"headstart {__version__}")
        raise typer.Exit


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="A built-in study (see `headstart list`) or a study file, e.g. mine.toml.")]
    = "cifar10-quick",
    seeds: Annotated[int | None, typer.Option(help="Run seeds 0 .. N-1 instead of the study's own.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one thing of the study, e.g. "
                    "--set arms.cnn.recipe.duration='1 epochs' or --set dataset=cifar10. May be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder (default: runs/NAME).")] = None,
    published: Annotated[Path | None, typer.Option(help="A folder of published trials: those count as finished.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would run, and about how long it would take.")] = False,
) -> None:
    """Run a study and write its report.

    Every arm, seed and label budget that is missing is run. Finished trials are kept: after Ctrl-C, or with more seeds, the
    same command goes on where it stopped."""
    changes = _changes(set_ or [])
    if plan:
        from headstart.planning import plan_study, plan_tables

        for part in plan_tables(plan_study(name, out, changes=changes, seeds=seeds, published=published)):
            _out.print(part)
        return
    from headstart.launch import run_study

    folder = run_study(name, out, changes=changes, seeds=seeds, command=_command(), published=published)
    _render(folder)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A study's folder, as `headstart study` wrote it, or published trials.")],
    to: Annotated[Path | None, typer.Option(help="A folder to publish: page, PDF, Markdown, figures, tables and the "
                  "trials without their weights.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether FOLDER, a published report, is what its trials give.")]
    = False,
) -> None:
    """Render a study's report again, or publish it.

    Nothing but the folder is read: no data, no weights, no network."""
    if check:
        from headstart.errors import StaleReportError
        from headstart.report import differences

        if found := differences(folder):
            raise StaleReportError(f"{folder}: {'; '.join(found)}; make it again: headstart report {folder}/trials --to {folder}")
        print(f"{folder} is what its trials give")
        return
    if to is None:
        _render(folder)
        return
    from headstart.report import verdict, write_bundle

    bundle = write_bundle(folder, to)
    _out.print(verdict(to / "trials"), soft_wrap=True)
    print(f"{len(bundle.files)} files in {to}, made from {to / 'trials'}")
    for reason in bundle.missing:
        print(f"headstart: {reason}", file=sys.stderr)


@app.command()
def findings(
    folder: Annotated[Path, typer.Argument(help="A study's folder, as `headstart study` wrote it.")],
    json: Annotated[bool, typer.Option("--json", help="Print them for programs.")] = False,
) -> None:
    """Print a study's claims and verdicts.

    Each is supported, refuted, inconclusive, or n/a where there are not two seeds."""
    from headstart.report import ledger_json, ledger_table

    if json:
        print(ledger_json(folder), end="")
    elif (table := ledger_table(folder)).row_count:
        _out.print(table)
    else:
        print("this study states no claims; add [[claims]] tables to its file")


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="A study's folder, as `headstart study` wrote it.")],
    to: Annotated[Path, typer.Option(help="Where published trials are kept.")] = Path("report/trials"),
) -> None:
    """Keep a study's finished trials without their weights.

    Summaries, test logits as float16 and all that the report needs, small enough for a repository; `headstart study
    --published` counts the trials as finished, `headstart report` renders from them."""
    from headstart.published import publish as write

    done = write(folder, to)
    print(f"{done.new} trials published; {to} holds {done.trials} trials, {done.size_bytes / 1e6:.1f} MB")


@app.command("list")
def list_() -> None:
    """Show what there is to run.

    Studies, datasets, models with their weights, methods and recipes."""
    from headstart.data import DATASETS
    from headstart.methods import METHODS
    from headstart.models import MODELS
    from headstart.recipes import RECIPES
    from headstart.studies import built_in_studies, load_study

    rows = {
        "studies": {name: load_study(name)[0].title for name in built_in_studies()},
        "datasets": {name: spec.title for name, spec in DATASETS.items()},
        "models": {name: f"{spec.title}; weights: {', '.join(spec.weights)}" for name, spec in MODELS.items()},
        "methods": {name: spec.title for name, spec in METHODS.items()},
        "recipes": {name: f"for {', '.join(m for m, spec in METHODS.items() if isinstance(recipe, spec.recipe))}"
                    for name, recipe in RECIPES.items()},
    }  # fmt: skip
    for kind, entries in rows.items():
        table = Table(title=kind, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2, 0, 1))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, words in entries.items():
            table.add_row(name, words)
        _out.print(table)


@data_app.command()
def fetch(name: Annotated[str, typer.Argument(help="A dataset's name, e.g. cifar10.")]) -> None:
    """Fetch a dataset into the cache and check it."""
    from headstart.data import load_dataset

    dataset = load_dataset(name)
    print(f"{dataset.title}: {len(dataset.train):,} training and {len(dataset.test):,} test images, "
          f"{len(dataset.train.class_names)} classes, fingerprint {dataset.fingerprint[:16]}")  # fmt: skip


@app.command()
def doctor() -> None:
    """Show what this machine has and lacks.

    Versions, cores, precision, devices, the cache; what is missing and the command that mends it."""
    from headstart.doctor import examine

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    findings = examine()
    for finding in findings:
        table.add_row(("ok  " if finding.fine else "MISS") + f" {finding.what}", finding.value)
    _out.print(table)
    for finding in findings:
        if not finding.fine:
            print(f"to mend {finding.what}: {finding.remedy}")


def _changes(given: list[str]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given]
    for key, sign, _ in pairs:
        if not sign or not key:
            raise ConfigError(f"--set {key!r} is not KEY=VALUE, e.g. --set arms.cnn.recipe.batch_size=250")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _command() -> str:
    import shlex

    return shlex.join(["headstart", *sys.argv[1:]])


def _render(folder: Path) -> None:
    from headstart.report import summary_table, verdict, write_report

    page = write_report(folder)
    _out.print()
    _out.print(verdict(folder), soft_wrap=True)
    _out.print()
    _out.print(summary_table(folder))
    _out.print(f"report: {page.resolve()}", soft_wrap=True)


def main() -> None:
    """Runs the command line; every deliberate error is one line and its documented exit code."""
    # A shell starts background jobs with interrupts ignored; a study can always be interrupted and resumed.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)
        if code == _INTERRUPTED:  # typer turns an interrupt into this
            _fail(_GOES_ON, _INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)
    except HeadstartError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail(_GOES_ON, _INTERRUPTED)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            _fail(f"{error.filename or 'the disk'}: {error.strerror}; free space or choose another folder "
                  "(--out, HEADSTART_CACHE)", StoreError.exit_code)  # fmt: skip
        raise
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's and click's own usage errors
            _fail(f"{error.format_message()} (see headstart --help)", ConfigError.exit_code)
        if type(error).__name__ == "Abort":
            _fail(_GOES_ON, _INTERRUPTED)
        raise


def _fail(message: str, code: int) -> None:
    print(f"headstart: {message}", file=sys.stderr, flush=True)
    # A download thread or a compute pool must not hold the exit up.
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
