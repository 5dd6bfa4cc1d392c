"""The commands that ask more of a study's models: robustness, shift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli import options
from headstart.cli.output import render


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
    cluster: options.Cluster = None,
) -> None:
    """Read a study's models on corrupted test images.

    15 common corruptions at 5 severities, as in CIFAR-10-C. What is there already is kept; the report is
    written anew."""
    from headstart.evaluation.robustness import run_robustness, wanted_robustness

    wanted = wanted_robustness(folder, arms.split(",") if arms else None, images, seed)
    if cluster is None:
        run_robustness(folder, wanted)
    else:
        from headstart.cluster.readings import robustness_on_cluster

        robustness_on_cluster(cluster, folder, wanted)
    render(folder)


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
    render(folder)
