"""Arguments and options of the commands that take the same ones, or that need many words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from headstart.data.folders.divide import BadFiles
    from headstart.data.folders.options import SourceOptions
    from headstart.studies.shard import Shard as ShardOfStudy

# --- of images in a folder or a table ---

ImageSource = Annotated[
    Path,
    typer.Argument(
        help="A folder with one sub-folder a class, train/val/test folders of such, a zip of one, or a "
        "CSV or Parquet table with columns path and label."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on any unreadable file, not from 5 % of them.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Never fail because of unreadable files.")]
GroupColumn = Annotated[
    str | None, typer.Option(help="A table's column: rows with the same value stay on one side.")
]
GroupRegex = Annotated[
    str | None, typer.Option(help="Searched for in each path: equal matches stay on one side.")
]
Layout = Annotated[
    str, typer.Option(help="What sub-folders are: classes, splits (train, test), folds, or auto to tell.")
]
Fit = Annotated[
    str, typer.Option(help="How images become square: crop (the middle), pad (all on grey) or squash.")
]
Alike = Annotated[
    bool, typer.Option("--alike", help="Images are alike by nature: only equal pixels count as copies.")
]
Decisions = Annotated[
    Path | None,
    typer.Option(
        help="decisions.csv: which images are left out, kept or given another label (headstart app)."
    ),
]
CacheGb = Annotated[
    float | None,
    typer.Option(
        "--cache-gb",
        help="Gigabytes of disk for decoded images: they are stored at the largest size that fits (default: "
        "up to a quarter of what is free).",
    ),
]
_LAYOUTS = ("auto", "classes", "splits", "folds")
_FITS = ("crop", "pad", "squash")


def cache_bytes(gigabytes: float | None) -> int | None:
    """--cache-gb in bytes. Raises: ConfigError for none at all."""
    if gigabytes is None:
        return None
    if not 0 < gigabytes < 1e6:
        raise ConfigError(f"--cache-gb must be above 0, got {gigabytes:g}")
    return int(gigabytes * 1e9)


def source_options(
    *,
    group_column: str | None,
    group_regex: str | None,
    layout: str,
    fit: str,
    alike: bool,
    decisions: Path | None = None,
) -> SourceOptions:
    """The options as one value. Raises: ConfigError for a layout, a fit or a file that there is not."""
    from headstart.data.folders.options import SourceOptions

    for name, given, choices in (("--layout", layout, _LAYOUTS), ("--fit", fit, _FITS)):
        if given not in choices:
            raise unknown_name(f"value of {name}", given, choices)
    if decisions is not None and not decisions.exists():
        raise ConfigError(f"--decisions {decisions} is not there; headstart app writes one")
    return SourceOptions(
        group_column=group_column,
        group_regex=group_regex,
        layout=layout,  # type: ignore[arg-type]
        fit=fit,  # type: ignore[arg-type]
        alike=alike,
        decisions=None if decisions is None else str(decisions.resolve()),
    )


def bad_files(strict: bool, skip_bad: bool) -> BadFiles:
    """What is done about unreadable files. Raises: ConfigError where both options are given."""
    if strict and skip_bad:
        raise ConfigError("--strict and --skip-bad contradict each other; give one of them")
    return "refuse" if strict else "skip" if skip_bad else "few"


# --- of a saved model ---

Model = Annotated[
    Path, typer.Argument(help="A finished trial's folder, a saved model's, or a study's folder with --arm.")
]
ArmName = Annotated[str | None, typer.Option("--arm", help="Which arm of a study's folder.")]

# --- of a study ---

Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one thing of the study.")
]
ChangesWithExample = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one thing of the study, e.g. "
        "--set arms.cnn.recipe.duration='1 epochs' or --set dataset=cifar10. May be repeated.",
    ),
]
FeaturePrecision = Annotated[
    str | None,
    typer.Option(
        help="Of frozen features: auto, bf16, fp32, int8 (a processor, extra int8; half of fp32's "
        "time), or fast (int8 where bf16 is not native). Left out: as the study says."
    ),
]
Tries = Annotated[
    int | None,
    typer.Option(
        help="Tries for each arm; the first is the arm's own recipe. Left out: the "
        "searches of the study's file."
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Run beside other processes in the same folder, as the I-th of N, e.g. 2/4. Left out: by the "
        'ids of a Slurm job array; "none": alone, whatever those say.',
    ),
]

Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help='Run the trials on a Ray cluster (extra ray): "local", "auto", HOST:6379 or ray://HOST:10001.',
    ),
]


def shard_of(text: str | None) -> ShardOfStudy | None:
    """The shard that --shard or a Slurm job array names, None for none. Raises: ConfigError."""
    if text == "none" or (text is None and "SLURM_ARRAY_TASK_ID" not in os.environ):
        return None
    from headstart.studies.shard import Shard

    return Shard.of(text) if text is not None else Shard.of_array(os.environ)
