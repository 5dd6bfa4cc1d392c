"""Renders the page: everything inline (style, figures, images), so that one file is the whole report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from headstart import plots, store
from headstart.data_quality.record import Health
from headstart.report import words
from headstart.report.load import StudyView, load_study
from headstart.report.sections import health
from headstart.report.sections.figure import Figure
from headstart.report.writers.context import context
from headstart.report.writers.marks import tied

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(study_folder: Path) -> Path:
    """Renders report.html into a study's folder, from that folder alone, and returns its path.

    One self-contained file: no network, no script. The same folder gives the same bytes.
    Raises: StoreError where no trial has finished or the folder cannot be written; DataError where the trials
    were tested on different images."""
    path = Path(study_folder) / "report.html"
    store.write_bytes(path, render(load_study(Path(study_folder))).encode())
    return path


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page as HTML text, and every figure in it, in order."""

    html: str
    figures: tuple[Figure, ...]


def render(view: StudyView) -> str:
    """The page as HTML text."""
    return compose(view).html


def write_health_page(folder: Path, examination: Health) -> Path:
    """Renders health.html, the section on data health as a page of its own, for data that no study is about.

    Raises: StoreError where the folder cannot be written."""
    path = Path(folder) / "health.html"
    text = (
        make_environment()
        .get_template("health_page.html")
        .render(
            health=health.describe(examination),
            title=str(examination.dataset["title"]),
            style=Markup(style_sheet()),
        )
    )
    store.write_bytes(path, text.encode())
    return path


def compose(view: StudyView, files: str = "") -> Page:
    """The page with its figures. files: where the trials' folders are, seen from the page, e.g. "trials/"; ""
    beside it."""
    values, figures = context(view)
    text = (
        make_environment()
        .get_template("report.html")
        .render(**values, style=Markup(style_sheet()), files=files)
    )
    return Page(html=re.sub(r"\n\s*\n+", "\n", text), figures=figures)


def make_environment() -> jinja2.Environment:
    """Templates with the filters that they use."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=words.share,
        number=words.number,
        duration=words.duration,
        flops=words.flops,
        memory=words.memory,
        count=words.count,
        tied=tied,
    )
    return environment


def style_sheet() -> str:
    """The page's CSS, the arms' colours with it."""
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8") + _arm_colors()


def _arm_colors() -> str:
    def variables(colors: tuple[str, ...]) -> str:
        return "".join(f"--arm{i}:{value};" for i, value in enumerate(colors))

    return (
        f":root{{{variables(plots.ARM_COLORS_LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(plots.ARM_COLORS_DARK)}}}}}\n"
    )
