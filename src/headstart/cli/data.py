"""The commands about datasets: data fetch, data check, data health."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli import options
from headstart.cli.output import console

MUST_BE_MENDED = 10  # the exit code of data check --exit-code


def fetch(name: Annotated[str, typer.Argument(help="A dataset's name, e.g. cifar10.")]) -> None:
    """Fetch a dataset into the cache and check it."""
    from headstart.data import dataset_spec, is_dataset, load_dataset

    fetch_verified = dataset_spec(name).fetch if is_dataset(name) else None
    dataset = load_dataset(name) if fetch_verified is None else fetch_verified()
    print(
        f"{dataset.title}: {len(dataset.train):,} training and {len(dataset.test):,} test images, "
        f"{len(dataset.train.class_names)} classes, fingerprint {dataset.fingerprint[:16]}"
    )


def check(
    path: options.ImageSource,
    json: Annotated[bool, typer.Option("--json", help="Print the findings for programs.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where check.html and check.json go (default: checks/NAME).")
    ] = None,
    strict: options.Strict = False,
    skip_bad: options.SkipBad = False,
    group_column: options.GroupColumn = None,
    group_regex: options.GroupRegex = None,
    layout: options.Layout = "auto",
    fit: options.Fit = "crop",
    alike: options.Alike = False,
    decisions: options.Decisions = None,
    cache_gb: options.CacheGb = None,
    label_errors: Annotated[
        bool, typer.Option(help="Look for label errors with a pretrained network.")
    ] = True,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 10 where something must be mended first.")
    ] = False,
) -> None:
    """Check your own images before anything is trained on them.

    Unreadable files, copies within and across splits, class sizes, mixed-up names, suspected label errors,
    and a page to look at. Exit code 3 where 5 % of the files or more cannot be read; with --exit-code also 10
    where something must be mended first."""
    from headstart.data import folders
    from headstart.data_quality.folder import Room, check_images
    from headstart.data_quality.page import terminal

    bad_files = options.bad_files(strict, skip_bad)
    source = options.source_options(
        group_column=group_column,
        group_regex=group_regex,
        layout=layout,
        fit=fit,
        alike=alike,
        decisions=decisions,
    )
    room = Room(cache_bytes=options.cache_bytes(cache_gb))
    done = check_images(path, out=out, options=source, label_errors=label_errors, storage=room)
    if json:
        print(done.json.read_text(encoding="utf-8"), end="")
    else:
        console.print(terminal(done.inspection))
        console.print(f"report: {done.page.resolve()}", soft_wrap=True)
    folders.require_mostly_good(done.decoded, bad_files)
    if exit_code and any(remark.severity == "error" for remark in done.inspection.remarks):
        raise typer.Exit(MUST_BE_MENDED)


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
    backbone = default_backbone() if study is None else backbone_of(study.arms, study.feature_precision)
    examined = examine_into(folder, dataset, backbone)
    console.print(health_table(examined))
    page = write_report(folder) if study is not None else write_health_page(folder, examined)
    console.print(f"report: {page.resolve()}", soft_wrap=True)
