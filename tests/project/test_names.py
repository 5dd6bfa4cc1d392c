"""Names are data in every output: a table of names, each output opened by the reader that people use.

HTML and rendered Markdown by an HTML parser, SVG by an XML parser, CSV as a spreadsheet takes it, JSON, the
metadata of an ONNX file by onnx, a card as rendered Markdown, terminals by what reaches them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from tests.support.html_tree import Node, parse
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.data_quality.record import Health, Pairs
from headstart.models.saved import SavedModel
from headstart.plots import visible
from headstart.predict.export import export_model, metadata
from headstart.predict.modelcard import Exported, model_card
from headstart.predict.predictor import load_predictor
from headstart.predict.saved import read_model
from headstart.report import document as doc
from headstart.report.chapters.whole import compose
from headstart.report.load import load_study
from headstart.report.writers.html import html
from headstart.report.writers.markdown import markdown
from headstart.results.table import write_results_csv

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = (
    "CNN [small]",
    "[/b] and [red]x",
    "<script>alert(1)</script>",
    "</title></style><img src=x onerror=alert(1)>",
    '=HYPERLINK("http:x";"y")',
    "+1+cmd|' C'!A0",
    "@SUM(1)",
    "-2+3",
    "a|b `c` **d** _e_ ~~f~~",
    "![x](javascript:alert(1)) [y](data:text,1)",
    "&lt;b&gt; &amp; \"q\" 'p'",
    "$\\frac{x}$ a_b^c",
    "{{7*7}} {% raw %} %s {0}",
    "a<!--b-->c ]]> <![CDATA[",
    "naïve Ωμ ąę",
    "漢字 日本語 한국어",
)
# Labels refuse control characters where they come in; classes are called like folders, which may hold them.
CLASS_NAMES = (*NAMES, "\x1b[2J\x07evil", "turned\u202eround", "two\nlines")
_ARMS = ("cnn", "probe", "probe-64", "finetune", "knn", "random", "cnn-fast", "partial")


def _bare(text: str) -> str:
    return re.sub(r"[\s\u2060\u202f\u00a0\ufeff]+", "", text)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose arms, classes, title and question have such names, several in each."""
    folder = tmp_path_factory.mktemp("names") / "study"
    labels = [" and ".join(NAMES[start::8]) for start in range(8)]
    write_synthetic_study(
        folder,
        arms=_ARMS[: len(labels)],
        classes=len(CLASS_NAMES),
        test_images=90,
        history=False,
        claims=False,
    )
    about = store.read_json(folder / "study.json")
    for arm, label in zip(about["arms"], labels, strict=True):
        arm["label"] = label
    about["title"], about["question"], about["notes"] = labels[0], labels[1], list(NAMES)
    about["dataset"] |= {"class_names": list(CLASS_NAMES), "title": labels[2], "source": labels[3]}
    about["command"] = "headstart study " + labels[0]
    store.write_json(folder / "study.json", about)
    return folder


def _labels(folder: Path) -> list[str]:
    return [arm.label for arm in store.read_study(folder).arms]


def _harmless(tree: Node) -> None:
    """No element that runs or loads anything, no address but of the page itself and of files beside it."""
    for node in tree.all(""):
        assert node.tag not in ("script", "iframe", "object", "embed", "base", "form"), node.tag
        assert not [name for name in node.attributes if name.startswith("on")], node.attributes
        for name in ("href", "src", "xlink:href", "action"):
            address = node.attributes.get(name, "").strip().lower()
            assert not address.startswith(("javascript:", "vbscript:", "data:text")), address


def _rendered(text: str) -> Node:
    """Markdown as a forge renders it, HTML let through."""
    return parse(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def test_in_pages_rendered_markdown_and_figures(study: Path) -> None:
    document = compose(load_study(study))
    page = html(document, "")
    tree, rendered = parse(page), _rendered(markdown(document, lambda _: "figures/x.png"))
    _harmless(tree)
    _harmless(rendered)
    for shown in (tree.text, rendered.text):
        missing = [label for label in _labels(study) if _bare(visible(label)) not in _bare(shown)]
        assert missing == [] and not set(shown) & set("\x1b\x07\u202e")
    for name in CLASS_NAMES:
        assert _bare(visible(name))[:20] in _bare(tree.text)
    figures = list(doc.figures(document))
    assert figures
    for figure in figures:
        drawing = ElementTree.fromstring(figure.svg)
        for element in drawing.iter():
            assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "image")
            for name, value in element.attrib.items():
                assert not name.rpartition("}")[2].startswith("on")
                assert not name.endswith("href") or value.startswith("#")


def test_every_page_forbids_what_it_does_not_hold(study: Path, tmp_path: Path) -> None:
    pages = [report.write_report(study), report.write_health_page(tmp_path, _health())]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert policy.startswith("default-src 'none'") and "script" not in policy
        assert text.index("Content-Security-Policy") < text.index("<title>")
        _harmless(parse(text))


def _health() -> Health:
    pairs = Pairs(
        places=np.array([[0, 5]]),
        labels=np.array([[0, 1]]),
        by=np.array([1], np.uint8),
        distance=np.array([0], np.uint8),
        similarity=np.array([1], np.float32),
    )
    about = {"name": NAMES[2], "title": NAMES[3], "fingerprint": "f", "class_names": list(CLASS_NAMES)}
    settings = {
        "features": None,
        "labels": None,
        "max_distance": 12,
        "min_correlation": 0.9,
        "alike": [[0.9, 0.65]],
    }
    images = {place: np.zeros((8, 8, 3), np.uint8) for place in (0, 5)}
    return Health(
        dataset=about | {"train_images": 4, "test_images": 4},
        settings=settings | {"alike": [[0.9, 0.65]]},
        pairs=pairs,
        suspects=None,
        seconds=1.0,
        images=images,
    )


def test_in_a_terminal(study: Path) -> None:
    with open("/dev/null", "w") as nowhere:
        console = Console(width=400, record=True, force_terminal=True, file=nowhere)
        console.print(report.summary_table(study))
        console.print(report.ledger_table(study))
        text = console.export_text()
    assert [label for label in _labels(study) if _bare(visible(label)) not in _bare(text)] == []
    assert not set(report.verdict(study)) & set("\x1b\x07\u202e")


def _formulas(content: bytes) -> list[str]:
    """Cells that a spreadsheet would run: everything that begins like a formula and is no number."""
    cells = [cell for row in csv.reader(io.StringIO(content.decode())) for cell in row]
    return [
        cell
        for cell in cells
        if cell[:1] in "=+-@\t\r" and cell and not re.fullmatch(r"[-+]?[\d.e+-]+", cell)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_in_csv_and_json(tmp_path: Path, name: str) -> None:
    import pandas as pd

    written = store.csv_bytes([{"arm": name, name: -1.5}], ["arm", name])
    assert _formulas(written) == []
    back = pd.read_csv(io.BytesIO(written))
    assert back["arm"][0].removeprefix("'") == name and back.iloc[0, 1] == -1.5
    folder = write_synthetic_study(tmp_path / "study", arms=1, test_images=20, history=False, gallery=False)
    trial = store.finished_trials(folder)[0].folder
    value = store.read_json(trial / "result.json")
    value["study"] = name
    value["trial"]["arm"]["recipe_name"] = name
    (trial / "result.json").write_text(json.dumps(value))
    (trial / "manifest.json").unlink()
    value.pop("schema")
    store.write_json(trial / "result.json", value)
    write_results_csv(folder)
    content = (folder / "results.csv").read_bytes()
    assert _formulas(content) == [] and name in content.decode().replace('""', '"')
    assert json.loads(json.dumps({"name": name}))["name"] == store.read_trial(trial).result.study


def test_predictions_as_csv_are_no_formulas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.model import _writer

    write = _writer(1, "csv", False)
    for name in CLASS_NAMES:
        write(Path(f"{name}.png"), [(name, 0.5)], None)
    assert _formulas(capsys.readouterr().out.encode(errors="replace")) == []
    shown = _writer(1, "text", False)
    for name in CLASS_NAMES:
        shown(Path(f"{name}.png"), [(name, 0.5)], None)
    assert not set(capsys.readouterr().out) & set("\x1b\x07\u202e")


def test_predictions_as_json_are_a_line_each_and_give_the_names_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from headstart.cli.model import _writer

    write = _writer(1, "json", False)
    for name in CLASS_NAMES:
        write(Path(f"{name}.png"), [(name, 0.5)], None)
    said = capsys.readouterr().out
    rows = [json.loads(line) for line in said.splitlines()]
    assert [row["path"] for row in rows] == [f"{name}.png" for name in CLASS_NAMES]
    assert [row["predictions"][0]["class"] for row in rows] == [*CLASS_NAMES]
    assert not set(said) & set("\x1b\x07")


def _saved(names: tuple[str, ...]) -> SavedModel:
    folder = next(p for p in sorted((GOLDEN / "run").iterdir()) if p.is_dir() and _is_cnn(p))
    return replace(read_model(folder), class_names=names, label=names[0])


def test_in_the_card_and_the_metadata_of_an_exported_model() -> None:
    for start in range(0, len(CLASS_NAMES), 3):
        some = CLASS_NAMES[start : start + 3]
        saved = _saved(some)
        saved = replace(saved, dataset=replace(saved.dataset, title=some[-1], source=some[0]))
        exported = Exported(
            path=Path("m.onnx"),
            card=Path("m.md"),
            images=1,
            source=some[0],
            difference=0.0,
            precision="fp32",
            stored_difference=0.0,
            same_predictions=1,
        )
        card, tree = model_card(saved, "onnx", exported), _rendered(model_card(saved, "onnx", exported))
        _harmless(tree)
        assert not tree.all("img") and not tree.all("a") and not set(card) & set("\x1b\x07\u202e")
        for name in some:
            assert _bare(visible(name)) in _bare(tree.text)
        (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
        compile(code, "card", "exec")
        assert json.loads(metadata(saved)["labels"]) == list(some)


@pytest.mark.slow
def test_in_an_exported_file_as_onnx_reads_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    folder = next(p for p in sorted((GOLDEN / "run").iterdir()) if p.is_dir() and _is_cnn(p))
    some = CLASS_NAMES[-3:]
    replace(_saved(some), folder=None).write(tmp_path / "model", read_model(folder).read_state())
    shutil.copytree(GOLDEN / "photos", tmp_path / "photos")
    done = export_model(load_predictor(tmp_path / "model"), "onnx", tmp_path / "m.onnx", tmp_path / "photos")
    properties = {each.key: each.value for each in onnx.load(done.path).metadata_props}
    assert json.loads(properties["labels"]) == list(some)


def _is_cnn(folder: Path) -> bool:
    return read_model(folder).method == "scratch"


@pytest.mark.slow
def test_a_whole_publication_of_such_names_lies_where_it_should(study: Path, tmp_path: Path) -> None:
    target = tmp_path / "site" / "R"
    bundle = report.write_bundle(study, target)
    assert all(re.fullmatch(r"[\w./-]+", name) for name in bundle.files), bundle.files
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["R"]
    for path in target.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in target.rglob("*.svg"):
        ElementTree.parse(path)
    for path in target.rglob("*.csv"):
        assert _formulas(path.read_bytes()) == []
