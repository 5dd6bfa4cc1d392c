"""The commands that make a model for somebody's images and use it: advise, predict, explain, export."""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from headstart.cli import options
from headstart.errors import ConfigError, DataError, StoppedError
from headstart.runtime.begun import beginning


def predict(
    model: options.Model,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE|FOLDER...", help="Images, or folders to be searched.")
    ],
    arm: options.ArmName = None,
    top: Annotated[int, typer.Option(help="How many classes to print, the likeliest first.")] = 1,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: path and predictions.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV: path,class_1,probability_1,...")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Images at a time (default: as in the model's evaluation).")
    ] = None,
) -> None:
    """Say what images show, by a trained model.

    An image's row is printed as soon as its batch is done. What cannot be read is named on standard error
    and the rest is done; the exit code is then 3. A model of advise marks images that are unlike those that
    it learned from."""
    if json and csv:
        raise ConfigError("--json and --csv are two formats; give one")
    if top < 1:
        raise ConfigError(f"--top must be at least 1, got {top}")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"--batch-size must be at least 1, got {batch_size}")
    from headstart.predict.files import find_images, predict_files
    from headstart.predict.predictor import load_predictor
    from headstart.runtime.progress import say

    predictor = load_predictor(model, arm=arm)
    inputs = find_images(images)
    paths = inputs.images
    if left_out := inputs.left_out.words():
        say(f"left out: {left_out}")
    failed = 0

    def unreadable(path: Path, error: DataError) -> None:
        nonlocal failed
        failed += 1
        say(f"headstart: {error}")

    for path, error in inputs.missing:
        unreadable(path, error)
    names = predictor.class_names
    count = min(top, len(names))
    done = 0
    try:
        marks = predictor.refused_fraction is not None
        write = _writer(count, "json" if json else "csv" if csv else "text", marks)
        for path, probabilities, unfamiliar in predict_files(predictor, paths, unreadable, batch_size):
            best = (-probabilities).argsort(kind="stable")[:count]
            write(path, [(names[label], float(probabilities[label])) for label in best], unfamiliar)
            done += 1
    except BrokenPipeError:  # the reader has seen enough, as in `headstart predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted; the rows of {done:,} of {len(paths):,} files are printed") from None
    if failed:
        raise DataError(
            f"{failed:,} of {len(paths) + len(inputs.missing):,} files could not be read (named above); the "
            "others are done"
        )


def _writer(
    count: int, format: str, marks: bool
) -> Callable[[Path, list[tuple[str, float]], bool | None], None]:
    """Prints one row; standard output is flushed at each, so that a program that reads along sees it at
    once. marks: the model marks images that are unfamiliar to it, and a CSV has a column for that."""
    from headstart.runtime.show import printable, shown
    from headstart.store import as_cell, csv_line

    if format == "csv":
        header = [
            "path",
            *(f"{what}_{place}" for place in range(1, count + 1) for what in ("class", "probability")),
            *(["unfamiliar"] if marks else []),
        ]
        print(csv_line(header), end="")

    def write(path: Path, best: list[tuple[str, float]], unfamiliar: bool | None) -> None:
        if format == "json":
            answers = [{"class": name, "probability": value} for name, value in best]
            row: dict[str, object] = {"path": printable(str(path)), "predictions": answers}
            if unfamiliar is not None:
                row["unfamiliar"] = unfamiliar
            print(json_format.dumps(row, ensure_ascii=False), flush=True)
        elif format == "csv":
            cells = [
                as_cell(printable(str(path))),
                *(cell for name, value in best for cell in (as_cell(name), f"{value:.6f}")),
                *([str(unfamiliar).lower()] if marks else []),
            ]
            print(csv_line(cells), end="", flush=True)
        else:
            answers_shown = ", ".join(f"{shown(name)} {100 * value:.1f} %" for name, value in best)
            mark = "  unfamiliar: unlike the images that the model learned from" if unfamiliar else ""
            print(f"{shown(str(path))}  {answers_shown}{mark}", flush=True)

    return write


def explain(
    model: options.Model,
    image: Annotated[Path, typer.Argument(help="An image.")],
    arm: options.ArmName = None,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write (default: IMAGE-explained.png here).")
    ] = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Evidence for this class (default: the likeliest).")
    ] = None,
) -> None:
    """Show where in an image a model found its answer (Grad-CAM).

    Writes the image, the evidence over it and the likeliest classes side by side. Needs the extra
    `explain`."""
    from headstart.predict.gradcam import write_explanation
    from headstart.predict.predictor import load_predictor

    path = out or _free(Path(f"{image.stem}-explained.png"))
    if path.resolve() == image.resolve():
        raise ConfigError(f"--out {path} is the image itself; give another file")
    if image.is_dir():
        raise ConfigError(f"{image} is a folder; give one image of it")
    predictor = load_predictor(model, arm=arm)
    explanation = write_explanation(predictor, image, path, class_)
    best = int(explanation.probabilities.argmax())
    print(
        f"{predictor.class_names[best]} {100 * explanation.probabilities[best]:.1f} %, evidence for "
        f"{predictor.class_names[explanation.target]}: {path}"
    )


def _free(path: Path) -> Path:
    """The path, or the first one with a number behind it that is not taken: -2, -3, ..."""
    taken, number = path, 1
    while taken.exists():
        number += 1
        taken = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return taken


def export(
    model: options.Model,
    arm: options.ArmName = None,
    format: Annotated[str, typer.Option("--format", help="onnx or torchscript.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="The file to write (default: model.onnx or model.pt in MODEL).")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Images to check the file on (default: the training images).")
    ] = None,
) -> None:
    """Write a model as one file for other programs, with its preprocessing inside.

    It appears only if it answers as PyTorch does, on 100 real images; a model card stands beside it. Needs
    the extra `export` for ONNX."""
    from headstart.predict.export import export_model
    from headstart.predict.predictor import load_predictor

    done = export_model(load_predictor(model, arm=arm), format, out, images)
    print(
        f"checked on {done.images} {done.source}: probabilities differ from PyTorch's by at most "
        f"{done.difference:.2g}; "
        f"from the model as evaluated ({done.precision}) by {done.stored_difference:.2g}, same likeliest "
        "class on "
        f"{done.same_predictions} of {done.images}"
    )
    print(f"{format}: {done.path}\nmodel card: {done.card}")


def advise(
    path: options.ImageSource,
    minutes: Annotated[float, typer.Option(help="How long it may take.")] = 10.0,
    out: Annotated[Path | None, typer.Option(help="Where all of it goes (default: advice/NAME).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer for programs.")] = False,
    strict: options.Strict = False,
    skip_bad: options.SkipBad = False,
    group_column: options.GroupColumn = None,
    group_regex: options.GroupRegex = None,
    layout: options.Layout = "auto",
    fit: options.Fit = "crop",
    alike: options.Alike = False,
    hold_out: Annotated[
        bool,
        typer.Option(
            "--hold-out", help="Keep a fifth for testing and a tenth for choosing out of the model."
        ),
    ] = False,
    backbone: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL[=WEIGHTS]", help="A pretrained network to try; may be repeated."),
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Weigh each class alike, however many images it has.")
    ] = False,
    cache_gb: options.CacheGb = None,
) -> None:
    """Find out what is best for your own images: train from scratch, or start from a pretrained network?

    Checks the images, tries what fits into the time, and answers with the accuracy to expect, what more
    labels would bring and a model to use. After Ctrl-C, or with more minutes, the same command goes on."""
    from headstart.advise.command import Wishes, backbones_of
    from headstart.advise.command import advise as find_out

    bad_files = options.bad_files(strict, skip_bad)
    done = find_out(
        path,
        minutes=minutes,
        out=out,
        options=options.source_options(
            group_column=group_column, group_regex=group_regex, layout=layout, fit=fit, alike=alike
        ),
        bad_files=bad_files,
        wishes=Wishes(
            balance=balance,
            hold_out=hold_out,
            backbones=backbones_of(backbone),
            cache_bytes=options.cache_bytes(cache_gb),
            began=beginning(),
        ),
    )
    if json:
        print(json_format.dumps(done.json(), indent=2, ensure_ascii=False))
    else:
        folder = Path(done.model).parent
        *lines, command = done.lines()
        pages = ", ".join(str(folder / page) for page in ("advice.html", "advice.md", "check/check.html"))
        print("\n".join([*lines, f"Pages: {pages}", command]))
    if done.interrupted:
        raise StoppedError("interrupted; the same command goes on where this one stopped")
