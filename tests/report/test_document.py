"""One document, three writers: the same words in HTML, Markdown and PDF, and text that stays text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.console import Console
from tests.support.document_text import read_markdown, without_spaces
from tests.support.html_tree import parse
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.plots import visible
from headstart.report import document as doc
from headstart.report.chapters.whole import compose
from headstart.report.load import load_study
from headstart.report.writers.html import html
from headstart.report.writers.markdown import markdown

HOSTILE = "</title><script>alert(1)</script> [/b] **x** [31m `y` & <b>"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "study"
    return write_synthetic_study(folder, seeds=2, labels_per_class=(10, None), test_images=200)


def test_a_hostile_label_is_text_in_every_form(study: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(study, tmp_path / "study")
    about = store.read_json(copy / "study.json")
    about["arms"][0]["label"] = HOSTILE
    about["title"] = HOSTILE
    about["dataset"]["class_names"][3] = "<b>[/b]"
    store.write_json(copy / "study.json", about)
    document = compose(load_study(copy))
    page, told = html(document, ""), markdown(document, lambda _: "figures/x.png")
    assert "<script" not in page and "\x1b" not in page
    assert without_spaces(HOSTILE) in without_spaces(parse(page).text)
    assert "<script" not in told and "\x1b" not in told
    assert without_spaces(HOSTILE) in without_spaces(read_markdown(told))
    console = Console(width=200, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(report.summary_table(copy))
        console.print(report.ledger_table(copy))
    assert HOSTILE[:40] in console.export_text() and "\x1b[31m" not in console.export_text()
    for figure in doc.figures(document):
        assert "<script" not in figure.svg and "\x1b" not in figure.svg


def test_control_characters_are_shown_as_escapes_in_every_form() -> None:
    """A study's files refuse them; other text may hold them."""
    document = doc.Document(
        title="a\x1b[31mb", eyebrow="", question="c\x07d", blocks=(doc.Paragraph(text=doc.text("e\x00f")),)
    )
    for written in (html(document, ""), markdown(document, lambda _: "")):
        assert not set(written) & set("\x1b\x07\x00")
        assert all(shown in written for shown in ("x1b", "x07", "x00"))


def test_every_page_says_that_nothing_is_loaded_or_run(study: Path) -> None:
    page = html(compose(load_study(study)), "")
    head = page[: page.index("<title>")]
    assert "Content-Security-Policy" in head and "default-src 'none'; img-src data:" in head
    assert "script-src" not in head


def test_a_small_document_as_markdown() -> None:
    table = doc.Table(
        label="Numbers",
        head=(doc.Row(cells=(doc.Cell(text=doc.text("Arm")), doc.Cell(text=doc.text("n"), kind="number"))),),
        rows=(
            doc.Row(
                cells=(
                    doc.Cell(text=doc.text("a|b"), kind="row"),
                    doc.Cell(text=doc.text("3"), kind="number", notes=("1 to 5",)),
                ),
                id="row-a",
            ),
        ),
    )
    figure = doc.Figure(name="fig-x", message="Message", caption="Caption.", svg="<svg></svg>")
    document = doc.Document(
        title="A *title*",
        eyebrow="study",
        question="",
        blocks=(
            doc.Heading(level=2, text=doc.text("Part one")),
            doc.Paragraph(text=doc.text("Some ", doc.bold("bold"), " <text>, ", doc.link("a row", "#row-a"))),
            table,
            figure,
        ),
    )
    assert markdown(document, lambda _: "") == (
        "<sub>study</sub>\n\n# A \\*title\\*\n\n## Part one\n\n"
        "Some **bold** &lt;text&gt;, [a row](#row-a)\n\n"
        '| Arm | n |\n| --- | --: |\n| <a id="row-a"></a>a\\|b | 3<br><sub>1 to 5</sub> |\n\n'
        "**Message**\n\n![Message](figures/fig-x.svg)\n\n<sub>Caption.</sub>\n"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a\x1bb", "a\\x1bb"),
        ("a\nb\tc", "a b c"),
        ("left\u202eright", "left\\u202eright"),
        ("half \ud800", "half \\ud800"),
        ("93.1\u202f% é", "93.1\u202f% é"),
    ],
)
def test_control_characters_are_spelled_out(given: str, expected: str) -> None:
    assert visible(given) == expected


def test_a_link_with_a_scheme_stays_a_path() -> None:
    document = doc.Document(
        title="t",
        eyebrow="",
        question="",
        blocks=(doc.Paragraph(text=doc.text(doc.link("x", "javascript:alert(1)"))),),
    )
    assert 'href="javascript:' not in html(document, "")
