"""The command line: parse, call one function, print."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from headstart.cli import model as model_commands
from headstart.errors import ConfigError, HeadstartError, StoreError
from headstart.version import __version__

app = typer.Typer(
    help="Train a CNN from scratch, or start from a pretrained ResNet? Headstart runs both on your images' "
    "terms and shows "
    "what each reached and what it cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Datasets: fetch them, look at them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
for _command_of_a_model in (
    model_commands.advise,
    model_commands.predict,
    model_commands.explain,
    model_commands.export,
):
    app.command()(_command_of_a_model)
_out = Console(highlight=False)
_INTERRUPTED = 130
_GOES_ON = "interrupted; finished trials are kept and the same command goes on where this one stopped"


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"headstart {__version__}")
        raise typer.Exit


@app.command()
def study(
    name: Annotated[
        str, typer.Argument(help="A built-in study (see `headstart list`) or a study file, e.g. mine.toml.")
    ] = "cifar10-quick",
    seeds: Annotated[int | None, typer.Option(help="Run seeds 0 .. N-1 instead of the study's own.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one thing of the study, e.g. "
            "--set arms.cnn.recipe.duration='1 epochs' or --set dataset=cifar10. May be repeated.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder (default: runs/NAME).")] = None,
    published: Annotated[
        Path | None, typer.Option(help="A folder of published trials: those count as finished.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Begin no trial later than that; the same command goes on another time."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            help="Trials at once, each in a process of its own with its share of the cores; for a GPU "
            "that small trials leave idle. Their times compare with no others."
        ),
    ] = 1,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would run, and about how long it would take.")
    ] = False,
    feature_precision: Annotated[
        str | None,
        typer.Option(
            help="Of frozen features: auto, bf16, fp32, or int8 (a processor, "
            "extra int8; half of fp32's time). Left out: as the study says."
        ),
    ] = None,
) -> None:
    """Run a study and write its report.

    Every arm, seed and label budget that is missing is run. Finished trials are kept: after Ctrl-C, or with
    more seeds, the same command goes on where it stopped."""
    changes = _changes(set_ or [])
    if (
        feature_precision is not None
        and changes.setdefault("feature_precision", feature_precision) != feature_precision
    ):
        raise ConfigError(
            f"--feature-precision {feature_precision} and --set "
            f"feature_precision={changes['feature_precision']} "
            "differ; give one"
        )
    if plan:
        from headstart.studies.plan import plan_study, plan_tables

        for part in plan_tables(plan_study(name, out, changes=changes, seeds=seeds, published=published)):
            _out.print(part)
        return
    from headstart.studies.run import run_study

    folder = run_study(
        name,
        out,
        changes=changes,
        seeds=seeds,
        command=_command(),
        published=published,
        minutes=minutes,
        jobs=jobs,
    )
    _render(folder)


@app.command()
def tune(
    name: Annotated[str, typer.Argument(help="A built-in study or a study file; its arms are tuned.")],
    tries: Annotated[
        int | None,
        typer.Option(
            help="Tries for each arm; the first is the arm's own recipe. Left out: the "
            "searches of the study's file."
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="An arm to tune (default: all, as many tries each). May be repeated."),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help='Labels a class, from 5 up: tries are read on folds inside them. "all": on the '
            "validation images."
        ),
    ] = "all",
    duration: Annotated[
        str | None, typer.Option(help="Train each try for this long instead, e.g. '1 epochs'.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Train each try on so many images instead (all labels).")
    ] = None,
    validation_images: Annotated[
        int | None, typer.Option(help="Read each try on so many images instead (all labels).")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Read each try on so many of the five folds instead (label budgets).")
    ] = None,
    pixels: Annotated[
        list[int] | None, typer.Option(help="An input size to choose among. May be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the label subset and of the search.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one thing of the study.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The study's folder (default: runs/NAME); tries go to its folder tuning/."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Searches at once, each in a process of its own with its share of the cores.")
    ] = 1,
) -> None:
    """Search a recipe for each arm of a study, on validation images alone.

    The test set is never read. Every try that ended is kept: after Ctrl-C the same command goes on. Options
    that make a try cheaper than the trial it stands for are stored with what was chosen."""
    from headstart.tuning.search import SearchRequest, tune
    from headstart.types import LabelBudget, Proxy

    if labels != "all" and not labels.isdecimal():
        raise ConfigError(f'--labels expects a whole number or "all", got {labels!r}')
    proxy = Proxy(duration=duration, images=images, validation_images=validation_images, folds=folds)
    request = SearchRequest(
        arms=tuple(arm or ()),
        candidates=tries,
        label_budget=None if labels == "all" else LabelBudget(int(labels)),
        proxy=None if proxy == Proxy() else proxy,
        pixels=tuple(pixels or ()),
        seed=seed,
    )
    for tuned in tune(name, request, out=out, jobs=jobs, changes=_changes(set_ or [])):
        first, best = tuned.candidates[0].accuracy, tuned.best
        before = "failed" if first is None else f"{first:.4f}"
        after = "failed" if best is None else f"{best.accuracy:.4f}"
        print(
            f"{tuned.arm}: its own recipe {before}, best of {len(tuned.candidates)} {after} on validation"
            + (f'; in its study: recipe = "{tuned.recipe_file}"{_size(best.values)}' if best else "")
        )


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="A study's folder, as `headstart study` wrote it, or published trials.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            help="A folder to publish: page, PDF, Markdown, figures, tables and the "
            "trials without their weights."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say whether FOLDER, a published report, is what its trials give."),
    ] = False,
) -> None:
    """Render a study's report again, or publish it.

    Nothing but the folder is read: no data, no weights, no network."""
    if check:
        from headstart.errors import StaleReportError
        from headstart.report import differences

        if found := differences(folder):
            raise StaleReportError(
                f"{folder}: {'; '.join(found)}; make it again: headstart report {folder}/trials --to {folder}"
            )
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

    Summaries, test logits as float16 and all that the report needs, small enough for a repository; `headstart
    study --published` counts the trials as finished, `headstart report` renders from them."""
    from headstart.results.published import publish as write

    done = write(folder, to)
    print(f"{done.new} trials published; {to} holds {done.trials} trials, {done.size_bytes / 1e6:.1f} MB")


@app.command()
def robustness(
    folder: Annotated[Path, typer.Argument(help="A study's folder, as `headstart study` wrote it.")],
    arms: Annotated[
        str | None, typer.Option(help="Names of arms, with commas (default: what the study says, or all).")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Test images, each in 75 corrupted copies (default: 1000).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The trials' seed, and that of the corruptions (default: 0).")
    ] = None,
) -> None:
    """Read a study's models on corrupted test images.

    15 common corruptions at 5 severities, as in CIFAR-10-C. What is there already is kept; the report is
    written anew."""
    from headstart.evaluation.robustness import run_robustness, wanted_robustness

    run_robustness(folder, wanted_robustness(folder, arms.split(",") if arms else None, images, seed))
    _render(folder)


@app.command()
def shift(
    folder: Annotated[Path, typer.Argument(help="A study's folder, as `headstart study` wrote it.")],
    path: Annotated[
        Path,
        typer.Argument(
            help="Labelled images from elsewhere: a folder with a sub-folder for each class, or "
            "with cifar10.1_v6_data.npy and cifar10.1_v6_labels.npy."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="What the report calls them (default: the folder's name).")
    ] = None,
) -> None:
    """Read a study's models on labelled images from elsewhere.

    Shows by how much accuracy falls from the test images; the report is written anew."""
    from headstart.evaluation.shift import run_shift
    from headstart.types import ShiftSet

    run_shift(folder, ShiftSet(name=name or path.resolve().name, path=str(path)))
    _render(folder)


@app.command("list")
def list_() -> None:
    """Show what there is to run.

    Studies, datasets, models with their weights, methods and recipes."""
    from headstart.cli import overview

    for problem in overview.load_plugins():
        print(problem, file=sys.stderr)
    for kind, entries in overview.entries().items():
        table = Table(
            title=kind,
            title_justify="left",
            title_style="bold",
            show_header=False,
            box=None,
            padding=(0, 2, 0, 1),
        )
        table.add_column(no_wrap=True)
        table.add_column()
        for name, words in entries.items():
            table.add_row(name, words)
        _out.print(table)


@data_app.command()
def fetch(name: Annotated[str, typer.Argument(help="A dataset's name, e.g. cifar10.")]) -> None:
    """Fetch a dataset into the cache and check it."""
    from headstart.data import dataset_spec, is_dataset, load_dataset

    fetch_verified = dataset_spec(name).fetch if is_dataset(name) else None
    dataset = load_dataset(name) if fetch_verified is None else fetch_verified()
    print(
        f"{dataset.title}: {len(dataset.train):,} training and {len(dataset.test):,} test images, "
        f"{len(dataset.train.class_names)} classes, fingerprint {dataset.fingerprint[:16]}"
    )


@data_app.command()
def check(
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder with one sub-folder a class, train/val/test folders of such, or a CSV or "
            "Parquet table with columns path and label."
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the findings for programs.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where check.html and check.json go (default: checks/NAME).")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on any unreadable file, not from 5 % of them.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Never fail because of unreadable files.")
    ] = False,
    group_column: Annotated[
        str | None, typer.Option(help="A table's column: rows with the same value stay on one side.")
    ] = None,
    group_regex: Annotated[
        str | None, typer.Option(help="Searched for in each path: equal matches stay on one side.")
    ] = None,
    label_errors: Annotated[
        bool, typer.Option(help="Look for label errors with a pretrained network.")
    ] = True,
) -> None:
    """Check your own images before anything is trained on them.

    Unreadable files, copies within and across splits, class sizes, mixed-up names, suspected label errors,
    and a page to look at. Exit code 3 where 5 % of the files or more cannot be read."""
    from headstart.data import folders
    from headstart.data_quality.folder import check_images
    from headstart.data_quality.page import terminal

    if strict and skip_bad:
        raise ConfigError("--strict and --skip-bad contradict each other; give one of them")
    done = check_images(
        path, out=out, group_column=group_column, group_regex=group_regex, label_errors=label_errors
    )
    if json:
        print(done.json.read_text(encoding="utf-8"), end="")
    else:
        _out.print(terminal(done.inspection))
        _out.print(f"report: {done.page.resolve()}", soft_wrap=True)
    folders.require_mostly_good(done.decoded, "refuse" if strict else "skip" if skip_bad else "few")


@data_app.command()
def health(
    name: Annotated[str, typer.Argument(help="A dataset's name, e.g. cifar10, or a folder of images.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A study's folder, whose report then shows it, or another one (default: health/NAME)."
        ),
    ] = None,
) -> None:
    """Look for copies and wrong labels in a dataset.

    Pairs of images that show the same, within and across train and test: same bytes, alike hashes, alike
    features. Training labels that a cross-validated probe contradicts. In a study's folder, the features that
    its arms have cached are used, and the report reads every arm again without the test images that train
    has. The study key data_health = true does the same."""
    from headstart.data import load_dataset
    from headstart.data_quality.dataset import backbone_of, default_backbone, examine_into, require_same_data
    from headstart.report import health_table, write_health_page, write_report

    dataset = load_dataset(name)
    folder = out if out is not None else Path("health") / dataset.name
    study = require_same_data(folder, dataset)
    found = examine_into(
        folder,
        dataset,
        default_backbone() if study is None else backbone_of(study.arms, study.feature_precision),
    )
    _out.print(health_table(found))
    page = write_report(folder) if study is not None else write_health_page(folder, found)
    _out.print(f"report: {page.resolve()}", soft_wrap=True)


@app.command()
def doctor() -> None:
    """Show what this machine has and lacks.

    Versions, cores, precision, devices, the cache; what is missing and the command that mends it."""
    from headstart.cli.doctor import examine

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


def _size(values: Mapping[str, Any]) -> str:
    """The input size that a search chose, as its study must say it too."""
    pixels = values.get("input_pixels")
    return "" if pixels is None else f", input_pixels = {pixels}"


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
        # The last collection would visit all that torch and pandas have made: 0.9 s of 3.6 in all.
        gc.freeze()
        sys.exit(code if isinstance(code, int) else 0)
    except HeadstartError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail(_GOES_ON, _INTERRUPTED)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            _fail(
                f"{error.filename or 'the disk'}: {error.strerror}; free space or choose another folder "
                "(--out, HEADSTART_CACHE)",
                StoreError.exit_code,
            )
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
