"""A study as a folder to publish: the same report as page, PDF and Markdown, with its figures, tables and
evidence.

<target>/
    report.html     one self-contained page         README.md       the same for any forge
    report.pdf      the same on paper               figures/        every figure as SVG and PNG, galleries as
    PNG results.csv     a row a trial                   headline.json   the claims with verdicts study.toml
    the study as it was asked for   trials/         summaries and test logits: all that the rest is made from
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from PIL import Image

from headstart import store
from headstart.errors import ConfigError, StoreError
from headstart.plots.fonts import give_families, missing_letters_pass
from headstart.plots.style import STYLE
from headstart.plots.svg import laid_out, svg_file
from headstart.report.chapters.whole import compose
from headstart.report.document import Document, Gallery, figures
from headstart.report.load import StudyView, load_study
from headstart.report.writers.html import html, style_sheet
from headstart.report.writers.markdown import markdown
from headstart.report.writers.pdf import write_pdf
from headstart.report.writers.sheets import sheet
from headstart.results import table
from headstart.results.claims import as_json, decide
from headstart.results.published import LIMIT_BYTES, publish

TRIALS = "trials"
_PNG_DPI = 144  # twice the SVG's units


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What was written: the folder, its files (paths inside it), and what could not be made, a sentence
    each."""

    folder: Path
    files: tuple[str, ...]
    missing: tuple[str, ...]


def write_bundle(study_folder: Path, target: Path) -> Bundle:
    """Publishes a study's trials into <target>/trials and writes its report from those alone.

    study_folder may be <target>/trials itself: then everything else is made anew, the same bytes as before
    (report.pdf and the PNG files with the same libraries). Figures of an earlier report that this one lacks
    are removed.
    Raises: StoreError where nothing is finished, the published study would be too large or target cannot be
    written; DataError on trials with different test sets."""
    study_folder, target = Path(study_folder), Path(target)
    trials = target / TRIALS
    if study_folder.resolve() != trials.resolve():
        size = publish(study_folder, trials).size_bytes
        if size > LIMIT_BYTES:
            raise StoreError(
                f"{trials} holds {size / 1e6:.1f} MB, more than the {LIMIT_BYTES / 1e6:.0f} MB that a "
                "repository "
                "should bear; remove trials or readings that the report does not need"
            )
    return _write(trials, target)


def _write(trials: Path, target: Path) -> Bundle:
    view = load_study(trials)
    document = compose(view, files=f"{TRIALS}/")
    drawings: dict[str, Drawing | Gallery] = {}
    files = _texts(trials, view, document, drawings)
    files.update({name: _png(drawing) for name, drawing in drawings.items()})
    for name, content in files.items():
        store.write_bytes(store.inside(target, name), content)
    for stray in (target / "figures").iterdir():
        if f"figures/{stray.name}" not in files and stray.suffix in (".svg", ".png"):
            stray.unlink()
    missing = []
    try:
        write_pdf(document, target / "report.pdf")
    except ConfigError as error:
        missing.append(str(error))
    written = [*files, *([] if missing else ["report.pdf"])]
    return Bundle(folder=target, files=tuple(sorted(written)), missing=tuple(missing))


def _texts(
    trials: Path, view: StudyView, document: Document, drawings: dict[str, Drawing | Gallery]
) -> dict[str, bytes]:
    """The files of a report that are text, by name; what is drawn as PNG comes into
    `drawings`."""
    files: dict[str, bytes] = {"report.html": html(document, style_sheet()).encode()}
    for figure in figures(document):
        files[f"figures/{figure.name}.svg"] = svg_file(figure.svg).encode()
        if figure.drawing is not None:
            drawings[f"figures/{figure.name}.png"] = figure.drawing

    def picture(gallery: Gallery) -> str:
        name = f"figures/gallery-{gallery.name}.png"
        drawings[name] = gallery
        return name

    files["README.md"] = markdown(document, picture).encode()
    files["results.csv"] = table.results_csv(store.finished_trials(trials))
    files["findings.json"] = as_json(decide(view.study.claims, view.trials)).encode()
    if (trials / "study.toml").is_file():
        files["study.toml"] = store.read_bytes(store.inside(trials, "study.toml"))
    return files


def _png(drawing: Drawing | Gallery) -> bytes:
    if isinstance(drawing, Gallery):
        drawing = sheet(drawing)
    buffer = io.BytesIO()
    give_families(drawing, picture=True)
    with mpl.rc_context(STYLE), missing_letters_pass(), laid_out(drawing, FigureCanvasAgg, _PNG_DPI):  # type: ignore[arg-type]
        drawing.savefig(buffer, format="png", dpi=_PNG_DPI, facecolor="#ffffff", metadata={"Software": None})
    return buffer.getvalue()


def differences(folder: Path, *, drawn: bool = True) -> list[str]:
    """How a published report differs from what its own trials give, a sentence a file; none where all is the
    same.

    HTML, Markdown, CSV, JSON and SVG must be the same bytes; a PDF the same text, a PNG the same pixels.
    drawn: set the PDF and draw the PNG files anew too, two thirds of the time; where False they need only be
    there.
    Raises: as write_bundle."""
    folder = Path(folder)
    sentences = []
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch)
        (again / TRIALS).symlink_to((folder / TRIALS).resolve(), target_is_directory=True)
        files = _written(again) if drawn else _only_texts(again)
        for name, same_file in files.items():
            if not (folder / name).is_file():
                sentences.append(f"{name} is missing")
            elif not same_file(folder / name):
                sentences.append(f"{name} is not what {TRIALS}/ gives")
        kept = {path.relative_to(folder).as_posix() for path in (folder / "figures").glob("*.*")}
        sentences += [f"{name} is of an earlier report" for name in sorted(kept - set(files))]
    return sentences


def _written(again: Path) -> dict[str, Callable[[Path], bool]]:
    """The whole report written into `again`: each file's name, and whether another file says the same."""
    return {name: partial(_same_file, again / name) for name in _write(again / TRIALS, again).files}


def _only_texts(again: Path) -> dict[str, Callable[[Path], bool]]:
    """As _written, of the files that are text alone; PNG files and the PDF are any file."""
    drawings: dict[str, Drawing | Gallery] = {}
    view = load_study(again / TRIALS)
    texts = _texts(again / TRIALS, view, compose(view, files=f"{TRIALS}/"), drawings)
    files: dict[str, Callable[[Path], bool]] = {
        name: partial(_same_content, content) for name, content in texts.items()
    }
    return files | dict.fromkeys([*drawings, "report.pdf"], Path.is_file)


def _same_content(content: bytes, path: Path) -> bool:
    return path.read_bytes() == content


def _same_file(a: Path, b: Path) -> bool:
    if a.read_bytes() == b.read_bytes():
        return True
    same = _SAME.get(a.suffix)
    return same is not None and same(a, b)


def _same_pixels(a: Path, b: Path) -> bool:
    """Equal but for what another build of the drawing library rounds otherwise: fewer than one value in a
    thousand."""
    pixels = []
    for path in (a, b):
        with Image.open(path, formats=["PNG"]) as image:
            pixels.append(np.asarray(image.convert("RGB"), dtype=np.int16))
    first, second = pixels
    return first.shape == second.shape and float((np.abs(first - second) > 8).mean()) < 1e-3


def _same_text(a: Path, b: Path) -> bool:
    return _pdf_text(a) == _pdf_text(b)


def _pdf_text(path: Path, order: str = "-layout") -> str:
    """The words of a PDF as pdftotext gives them; order: "-layout" by their place, "-raw" as they were
    set."""
    tool = shutil.which("pdftotext")
    if tool is None:
        raise ConfigError("comparing PDFs needs pdftotext; on Debian: apt-get install poppler-utils")
    text = subprocess.run([tool, order, str(path), "-"], capture_output=True, text=True, check=True).stdout
    return re.sub(r"\s+", " ", text)


_SAME: dict[str, Callable[[Path, Path], bool]] = {".png": _same_pixels, ".pdf": _same_text}
