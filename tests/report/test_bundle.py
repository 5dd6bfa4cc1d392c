"""The published report: everything from the published trials alone, the same again, the same numbers in every
form."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from tests.support.document_text import read_markdown, without_spaces, words
from tests.support.html_tree import parse
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.errors import StoreError
from headstart.report.chapters.whole import compose
from headstart.report.load import load_study
from headstart.report.writers import bundle as bundles
from headstart.results.published import LIMIT_BYTES, packed, publish

COMMITTED = Path(__file__).parents[2] / "report"
FIRST = ["answer", "verdicts", "glance", "at-a-glance", "published", "choose", "limits", "again", "contents"]
APPENDIX = [
    "study",
    "data",
    "methods",
    "fairness",
    "results",
    "comparison",
    "learning",
    "time",
    "costs",
    "labels",
    "ladder",
    "controls",
    "generalization",
    "gap",
    "mistakes",
    "confidence",
    "images",
    "record",
    "claims",
    "threats",
    "cost",
    "reproduce",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    arms = ("cnn", "probe", "finetune", "random")
    write_synthetic_study(folder, arms=arms, seeds=2, labels_per_class=(10, None), test_images=200)
    (folder / "notes.json").write_text('{"note": "kept"}\n')
    (folder / "robustness").mkdir()
    np.savez(
        folder / "robustness" / "sheet.npz",
        mark=np.array("text"),
        logits=np.arange(6, dtype=np.float16).reshape(2, 3),
    )
    (folder / "lock").touch()
    return folder


@pytest.fixture(scope="module")
def published(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("published") / "report"
    missing = report.write_bundle(study, target).missing
    assert len(missing) == (0 if (target / "report.pdf").exists() else 1)
    return target


@pytest.fixture(scope="module")
def page(published: Path) -> str:
    return (published / "report.html").read_text(encoding="utf-8")


def words_of(text: str) -> str:
    return re.sub(r"[\u202f\u00a0\s]+", " ", text.replace("\u2060", "").replace("\\", ""))


def test_what_the_report_needs_is_published_and_nothing_else(study: Path, published: Path) -> None:
    trials = published / "trials"
    beside = sorted(
        path.relative_to(trials).as_posix()
        for path in trials.rglob("*")
        if path.is_file() and len(path.parent.name) != 64
    )
    also = ["notes.json", "robustness/sheet.npz", "study.json", "study.toml"]
    assert beside == ["gallery.npz", "manifest.json", *also]
    keys = {result.key for result in store.finished_trials(study)}
    # at all labels a deterministic arm's second seed repeats its first: not published
    assert {path.name for path in trials.iterdir() if len(path.name) == 64} < keys
    one = next(path for path in trials.iterdir() if len(path.name) == 64)
    assert sorted(path.name for path in one.iterdir()) == [
        "history.jsonl",
        "manifest.json",
        "predictions.npz",
        "result.json",
    ]


def test_published_arrays_are_as_they_were(study: Path, published: Path) -> None:
    with np.load(study / "gallery.npz") as a, np.load(published / "trials" / "gallery.npz") as b:
        assert set(a.files) == set(b.files)
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
    with np.load(published / "trials" / "robustness" / "sheet.npz") as b:
        assert str(b["mark"]) == "text" and b["mark"].shape == () and b["logits"].dtype == np.float16


def test_packed_arrays_carry_no_clock_and_are_read_by_numpy(tmp_path: Path) -> None:
    content = packed({"x": np.arange(5, dtype=np.int32)})
    assert content == packed({"x": np.arange(5, dtype=np.int32)})
    (tmp_path / "a.npz").write_bytes(content)
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["x"].tolist() == [0, 1, 2, 3, 4]


def test_publishing_into_the_study_itself_is_refused(study: Path) -> None:
    with pytest.raises(StoreError, match="lies in the study's own folder"):
        publish(study, study / "report" / "trials")


def test_a_study_too_large_for_a_repository_is_refused(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "LIMIT_BYTES", 10_000)
    with pytest.raises(StoreError, match=r"MB, more than the 0 MB that a repository should bear"):
        report.write_bundle(study, tmp_path / "report")


def test_the_first_part_comes_first_and_the_appendix_follows_a_papers_order(page: str) -> None:
    found = [
        node.attributes["id"]
        for node in parse(page).walk()
        if node.tag in ("section", "h2") and "id" in node.attributes
    ]
    assert found == [*FIRST, *APPENDIX]


def test_page_and_markdown_say_the_same(published: Path, page: str) -> None:
    told = words_of((published / "README.md").read_text(encoding="utf-8"))
    told = words_of(re.sub(r"[*`]|</?sub>|&lt;|&gt;", "", told).replace("&amp;", "&"))
    root = parse(page)
    headings = [node.text for tag in ("h1", "h2") for node in root.all(tag)]
    assert headings and all(words_of(heading) in told for heading in headings)
    numbers = [
        words_of(cell.text)
        for table in root.all("table")
        for cell in table.all("td", "num")
        if not cell.all("small")
    ]
    assert len(numbers) > 200
    assert [number for number in numbers if number not in told] == []


def test_every_figure_is_a_file_in_both_forms_and_in_the_markdown(published: Path, page: str) -> None:
    names = [node.attributes["id"] for node in parse(page).all("figure")]
    assert len(names) == len(set(names)) >= 12
    told = (published / "README.md").read_text(encoding="utf-8")
    for name in names:
        assert f"](figures/{name}.svg)" in told
        root = ElementTree.parse(published / "figures" / f"{name}.svg").getroot()
        assert "var(" not in ElementTree.tostring(root, encoding="unicode") and root.get("aria-label")
        width = float(root.get("width", "0"))
        with Image.open(published / "figures" / f"{name}.png") as image:
            assert image.width == pytest.approx(2 * width, abs=4)


def test_what_the_markdown_shows_is_there(published: Path) -> None:
    told = (published / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", told) if not link.startswith("#")]
    assert any(link.startswith("figures/gallery-") for link in links)
    assert [link for link in links if not (published / link).exists()] == []


def test_tables_of_the_markdown_are_square(published: Path) -> None:
    lines = (published / "README.md").read_text(encoding="utf-8").splitlines()
    tables = "\n".join(line if line.startswith("|") else "" for line in lines).split("\n\n")
    for table in filter(None, (each.strip() for each in tables)):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_results_and_findings_are_the_published_trials(published: Path) -> None:
    rows = list(csv.DictReader((published / "results.csv").read_text(encoding="utf-8").splitlines()))
    trials = {result.key: result for result in store.finished_trials(published / "trials")}
    assert {row["key"] for row in rows} == set(trials)
    for row in rows:
        assert float(row["test_accuracy"]) == trials[row["key"]].metrics["test_accuracy"]
    findings = json.loads((published / "findings.json").read_text(encoding="utf-8"))
    assert len(findings) == len(store.read_json(published / "trials" / "study.json")["claims"])


def test_the_page_shows_the_mean_of_the_results_table(published: Path, page: str) -> None:
    rows = csv.DictReader((published / "results.csv").read_text(encoding="utf-8").splitlines())
    values = [
        float(row["test_accuracy"])
        for row in rows
        if row["arm"] == "finetune" and row["labels_per_class"] == "all"
    ]
    assert len(values) == 2
    assert f">{100 * sum(values) / 2:.2f}\u202f%<" in page


def test_everything_is_made_again_from_the_trials_alone_and_what_was_changed_is_noticed(
    published: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(published, tmp_path / "report")
    text = (copy / "README.md").read_text(encoding="utf-8")
    (copy / "README.md").write_text(text.replace("seeds", "seedz", 1), encoding="utf-8")
    (copy / "figures" / "fig-old.svg").write_text("<svg/>")
    (copy / "findings.json").unlink()
    code = (
        "import sys; from pathlib import Path; from headstart.report import differences\n"
        "print(*differences(Path(sys.argv[1]), drawn=False), 'torch' in sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(copy)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "README.md is not what trials/ gives",
        "findings.json is missing",
        "figures/fig-old.svg is of an earlier report",
        "False",
    ]


def test_html_markdown_and_pdf_hold_the_same_text(published: Path, page: str) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed; on Debian: apt-get install poppler-utils")
    pieces = words(compose(load_study(published / "trials"), files="trials/"))
    assert len(pieces) > 400
    forms = {
        "report.html": parse(page).text,
        "README.md": read_markdown((published / "README.md").read_text(encoding="utf-8")),
    }
    if (published / "report.pdf").exists():
        forms["report.pdf"] = bundles._pdf_text(published / "report.pdf", "-raw")
    for name, text in forms.items():
        bare = without_spaces(text.replace("`", "") if name == "README.md" else text).casefold()
        missing = [piece for piece in pieces if piece.replace("`", "").casefold() not in bare]
        allowed = 0.02 if name == "report.pdf" else 0.0  # a cell that a page's end divides
        assert len(missing) <= allowed * len(pieces), (name, missing[:5])


def test_setting_a_pdf_leaves_pillow_strict(published: Path) -> None:
    """weasyprint tells Pillow to read truncated files; the rest of the process must not."""
    from PIL import ImageFile

    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_the_pdf_has_pages_headings_and_the_pages_numbers(published: Path, page: str) -> None:
    if shutil.which("pdftotext") is None or not (published / "report.pdf").exists():
        pytest.skip(
            "weasyprint or pdftotext is not installed; pip install 'headstart[report]', apt-get install "
            "poppler-utils"
        )
    told = words_of(bundles._pdf_text(published / "report.pdf"))
    for heading in parse(page).all("h2"):
        assert words_of(heading.text) in told
    assert "Figure 1." in told and re.search(r"\b2 / \d+\b", told)


def test_without_weasyprint_one_line_says_so_and_all_else_is_written(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path / "study", arms=1, test_images=100, history=False, gallery=False)
    code = (
        "import sys; sys.modules['weasyprint'] = None; sys.argv = ['headstart', 'report', sys.argv[1], "
        "'--to', sys.argv[2]]\n"
        "from headstart.cli.app import main; main()"
    )
    command = [sys.executable, "-c", code, str(study), str(tmp_path / "report")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'headstart[report]'" in done.stderr
    assert not (tmp_path / "report" / "report.pdf").exists()
    assert (tmp_path / "report" / "README.md").is_file()


@pytest.mark.skipif(
    not (COMMITTED / "report.html").is_file(), reason="no published report in this repository yet"
)
@pytest.mark.slow
def test_the_committed_report_is_what_its_trials_give() -> None:
    assert report.differences(COMMITTED) == []


@pytest.mark.skipif(not (COMMITTED / "trials").is_dir(), reason="no published report in this repository yet")
def test_the_committed_trials_are_small_enough() -> None:
    assert (
        sum(path.stat().st_size for path in (COMMITTED / "trials").rglob("*") if path.is_file())
        <= LIMIT_BYTES
    )
