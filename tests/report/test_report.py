"""The report: every number from the folder, one file, the same bytes, whatever the study holds."""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.support.changed_trial import change_trial
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.errors import DataError, StoreError
from headstart.report import words
from headstart.report.load import load_study
from headstart.report.sections import tuning
from headstart.results import headline
from headstart.types import LabelBudget

EMPTY = {"area", "br", "col", "hr", "img", "input", "link", "meta", "wbr"}


class Page(HTMLParser):
    """A page's text by element, ids, links and sources; fails on tags that do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(values["id"] or "")
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.sources += [
            value or "" for name, value in attrs if name in ("src", "srcset", "data", "poster", "action")
        ]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in EMPTY:
            self.handle_starttag(tag, attrs)
        else:
            self.handle_starttag(tag, attrs)
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "title"):
            self.text += data + " "


def read(folder: Path) -> tuple[str, Page]:
    html = report.write_report(folder).read_text(encoding="utf-8")
    return html, Page(html)


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u2060", ""))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_study(tmp_path_factory.mktemp("runs") / "two", test_images=1000)


@pytest.fixture(scope="module")
def two_page(two: Path) -> tuple[str, Page]:
    return read(two)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "three"
    return write_synthetic_study(folder, seeds=3, labels_per_class=(10, 100, None), test_images=1000)


@pytest.fixture(scope="module")
def three_page(three: Path) -> tuple[str, Page]:
    return read(three)


def trial_of(folder: Path, arm: str) -> Path:
    return next(trial.folder for trial in store.finished_trials(folder) if trial.arm.name == arm)


def test_the_answer_comes_first_with_its_numbers(two: Path, two_page: tuple[str, Page]) -> None:
    sentence = headline.headline(store.read_study(two), store.finished_trials(two))
    text = plain(two_page[1].text)
    assert plain(sentence) in text
    assert text.index(plain(sentence)) < text.index("Side by side")


def test_the_table_shows_the_accuracy_of_the_stored_logits(two: Path, two_page: tuple[str, Page]) -> None:
    for arm in ("cnn", "probe"):
        with np.load(trial_of(two, arm) / "predictions.npz") as stored:
            right = float((stored["test_logits"].argmax(1) == stored["test_labels"]).mean())
        assert f">{100 * right:.2f}\u202f%<" in two_page[0]


def test_one_seed_has_no_interval_over_seeds(two_page: tuple[str, Page]) -> None:
    assert plain(two_page[1].text).count("n/a (1 seed)") == 4  # each arm's test accuracy and its gap


def test_three_seeds_have_a_t_interval(three: Path, three_page: tuple[str, Page]) -> None:
    values = [
        result.metrics["test_accuracy"]
        for result in store.finished_trials(three)
        if result.arm.name == "cnn" and result.label_budget.is_all
    ]
    assert len(values) == 3
    half = (
        4.302652729911275 * np.std(values, ddof=1) / np.sqrt(3)
    )  # t quantile 0.975 with 2 degrees of freedom
    assert f"{100 * (np.mean(values) - half):.2f} to {100 * (np.mean(values) + half):.2f}" in plain(
        three_page[1].text
    )


def test_the_page_is_one_file_that_asks_for_nothing(two_page: tuple[str, Page]) -> None:
    html, page = two_page
    assert not {"script", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "@import" not in html and "url(http" not in html
    assert [link for link in page.links if re.match(r"[a-z]+:", link) and not link.startswith("data:")] == []


def test_links_lead_to_what_is_there(two: Path, two_page: tuple[str, Page]) -> None:
    page = two_page[1]
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("data:"):
            assert (two / link).exists(), link


def test_ids_are_unique_and_headings_in_order(three_page: tuple[str, Page]) -> None:
    page = three_page[1]
    assert len(page.ids) == len(set(page.ids))
    levels = [int(heading[1]) for heading in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_the_same_folder_gives_the_same_bytes(two: Path, two_page: tuple[str, Page], tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    first, second = (
        hashlib.sha256(html.encode()).hexdigest()
        for html in (two_page[0], report.write_report(copy).read_text())
    )
    assert first == second


def test_the_report_renders_without_torch_and_without_pyplot_and_the_same_in_another_process(
    two: Path, two_page: tuple[str, Page]
) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart.report import write_report, summary_table, "
        "verdict\n"
        "folder = Path(sys.argv[1]); write_report(folder); summary_table(folder); verdict(folder)\n"
        "print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(two)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert (two / "report.html").read_text() == two_page[0]


def test_every_section_of_a_whole_study_is_there(three_page: tuple[str, Page]) -> None:
    page = three_page[1]
    for section in (
        "answer",
        "verdicts",
        "choose",
        "limits",
        "contents",
        "comparison",
        "learning",
        "time",
        "costs",
        "labels",
        "mistakes",
        "confidence",
        "images",
        "claims",
        "methods",
        "fairness",
        "reproduce",
    ):
        assert section in page.ids
    for figure in (
        "answer-labels",
        "answer-cost",
        "accuracy",
        "cost",
        "curves-epochs",
        "curves-seconds",
        "time",
        "labels",
        "confusion-cnn",
        "confusion-probe",
        "classes",
        "reliability",
    ):
        assert f"fig-{figure}" in page.ids


def test_one_label_budget_has_no_budget_figure(two_page: tuple[str, Page]) -> None:
    assert "fig-labels" not in two_page[1].ids


def test_claims_carry_the_verdicts_that_findings_decide(three: Path, three_page: tuple[str, Page]) -> None:
    text = plain(three_page[1].text)
    assert "CNN from scratch is more accurate than ResNet-50, linear probe" in text
    # in the first part, and again with their evidence
    assert re.findall(r'class="verdict (\w+)"', three_page[0]) == 2 * ["supported", "refuted", "supported"]


def test_methods_are_told_in_words(two_page: tuple[str, Page]) -> None:
    text = plain(two_page[1].text)
    assert (
        "Its three blocks of two 3×3 convolutions, max-pooling, batch normalisation and ReLU have 64, 256 "
        "and 256 c" in text
    )
    assert "images are mirrored in every other epoch and shifted by up to 2 pixels in each direction" in text
    assert "The L2 penalty was chosen on the validation images among 7 values: 0.01." in text
    assert "paid by its makers and not counted" in text


def test_the_gallery_shows_both_directions_with_truth_answers_and_confidence(
    two: Path, two_page: tuple[str, Page]
) -> None:
    html, page = two_page
    assert {"cnn-not-probe", "probe-not-cnn", "sure-cnn", "sure-probe"} <= set(page.ids)
    with (
        np.load(trial_of(two, "cnn") / "predictions.npz") as a,
        np.load(trial_of(two, "probe") / "predictions.npz") as b,
    ):
        labels = a["test_labels"]
        only_cnn = int(
            ((a["test_logits"].argmax(1) == labels) & (b["test_logits"].argmax(1) != labels)).sum()
        )
    panel = html[html.index('id="cnn-not-probe"') : html.index('id="probe-not-cnn"')]
    assert f"{only_cnn} images" in panel
    assert panel.count("<img") == min(only_cnn, 12)
    assert panel.count('class="right"') == panel.count('class="wrong"') == panel.count("<img")


def test_a_study_without_gallery_says_that_pixels_are_missing(two: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    (copy / "gallery.npz").unlink()
    _, page = read(copy)
    assert "img" not in page.tags
    assert "their pixels are not in gallery.npz" in plain(page.text)


@pytest.mark.parametrize(
    ("options", "figures"),
    [
        ({"arms": 1}, 11),
        ({"arms": 8}, 21),
        ({"classes": 100, "test_images": 500}, 12),
        ({"phase": "refit", "history": False, "gallery": False}, 9),
        ({"phase": "refit"}, 11),
    ],
    ids=["one arm", "eight arms", "100 classes", "refit without history", "refit with history"],
)
def test_every_kind_of_study_renders(options: dict, figures: int, tmp_path: Path) -> None:
    html, page = read(write_synthetic_study(tmp_path / "study", **{"test_images": 200, **options}))
    assert html.count('class="plot"') == figures
    assert len(page.ids) == len(set(page.ids))
    assert "nan" not in re.findall(r"[a-z]+", plain(page.text).lower())


def test_names_from_a_study_cannot_inject_markup(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "study", test_images=300, claims=False)
    study = store.read_json(folder / "study.json")
    study["arms"][0]["label"] = '<img src=x onerror="alert(1)">'
    study["dataset"]["class_names"][3] = "<script>cat</script>"
    store.write_json(folder / "study.json", study)
    html, _ = read(folder)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;cat" in html


def test_an_arm_without_trials_is_named_as_unfinished(two: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    shutil.rmtree(trial_of(copy, "cnn"))
    told = "1 of the study’s 2 trials have finished. Still to run: CNN from scratch (1 at all labels)."
    assert told in plain(read(copy)[1].text)
    assert "Still to run" not in plain(read(two)[1].text)


def test_what_a_reader_must_know_stands_with_the_threats(two: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    study = store.read_json(copy / "study.json")
    store.write_json(copy / "study.json", study | {"notes": ["Test was read before. Twice <in> fact."]})
    html = report.write_report(copy).read_text()
    assert "<b>Test was read before.</b> Twice &lt;in&gt; fact." in html[html.index('id="threats"') :]
    assert "with the threats" in html[html.index('id="fairness"') : html.index('id="comparison"')]


def test_commands_to_reproduce_run_everything_and_what_was_published(two: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    study = store.read_json(copy / "study.json")
    store.write_json(
        copy / "study.json", study | {"command": "headstart study toys --published report/trials --minutes 0"}
    )
    html = report.write_report(copy).read_text()
    assert "Every trial anew" not in report.write_report(two).read_text()
    assert (
        "<code>headstart study toys\nheadstart study toys --published report/trials --minutes 0</code>"
        in html
    )


def test_an_arms_label_is_the_one_that_the_study_has_now(two: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    study = store.read_json(copy / "study.json")
    before = study["arms"][0]["label"]
    study["arms"][0]["label"] = "The small network"
    store.write_json(copy / "study.json", study)
    text = plain(read(copy)[1].text)
    assert "The small network reached" in text and f"{before} reached" not in text


def test_a_trial_of_earlier_settings_is_left_out_and_counted(two: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    old = shutil.copytree(trial_of(copy, "cnn"), copy / "earlier")
    change_trial(
        old,
        lambda value: (
            value["environment"].update(started="2020-01-01T00:00:00+00:00"),
            value["trial"]["arm"]["recipe"].update(batch_size=7),
        ),
    )
    assert "1 more finished trial in this folder is left out: of earlier settings" in plain(
        read(copy)[1].text
    )


def test_trials_on_different_test_sets_are_refused(two: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(two, tmp_path / "two")
    change_trial(trial_of(copy, "cnn"), lambda value: value["trial"].update(dataset_fingerprint="00" * 32))
    with pytest.raises(
        DataError, match="tested on different data sets; give each data set a folder of its own"
    ):
        report.write_report(copy)


def test_a_study_without_a_finished_trial_says_what_to_do(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "study", test_images=300)
    for trial in store.finished_trials(folder):
        shutil.rmtree(trial.folder)
    with pytest.raises(
        StoreError, match=r"no finished trial in .*; finish the study first: headstart study study"
    ):
        report.write_report(folder)


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*study\.json"):
        report.write_report(tmp_path)


def test_the_terminal_table_fits_eighty_columns_and_holds_the_numbers(two: Path) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(report.summary_table(two))
    text = console.export_text()
    for title in ("arm", "test %", "95 %", "val %", "NLL", "ECE", "seconds", "PFLOP", "GB"):
        assert title in text
    assert "0.324" in text and "409" in text and "1.40" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_verdict_is_the_headline(two: Path) -> None:
    assert report.verdict(two) == headline.headline(store.read_study(two), store.finished_trials(two))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.interval((-0.0123, 0.0345)), "−1.2 to 3.5"),
        (words.interval((-0.0123, 0.0345), 2, signed=True), "−1.23 to +3.45"),
        (words.energy(12_300), "12.3 kJ"),
        (words.energy(7.5), "7.5 J"),
        (words.flops(2e6), "2 MFLOP"),
        (words.share(0.94127, 2), "94.13 %"),
        (words.share(None), "n/a"),
        (words.points(-0.0214), "−2.1 points"),
        (words.points(-0.0001), "+0.0 points"),
        (words.interval((0.00471, 0.00538)), "0.47 to 0.54"),
        (words.interval((-0.0001, 0.0002), signed=True), "−0.01 to +0.02"),
        (words.flops(1.9e15), "1.9 PFLOP"),
        (words.flops(3.24e14), "324 TFLOP"),
        (words.memory(1395864371), "1.40 GB"),
        (words.memory(0), "n/a"),
        (words.count(1_972_792), "1.97 million"),
        (words.count(45_000), "45,000"),
        (words.listing(["a", "b", "c"]), "a, b and c"),
        (LabelBudget(10).words, "10 labels a class"),
    ],
)
def test_numbers_are_written_with_their_units(shown: str, expected: str) -> None:
    assert shown.replace("\u202f", " ") == expected


def test_the_threats_say_whether_recipes_were_searched(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "study", arms=["cnn", "finetune"], test_images=300, claims=False, gallery=False
    )
    told = tuning.effort(load_study(folder))
    assert told == (
        "No search ran for this study: its file names every recipe. The recipe of CNN from scratch was "
        "developed by hand: values were tried on validation images, those that did worse are listed in "
        "docs/negative-results.md; the recipe of ResNet-50, fine-tuned takes usual values as they are, which "
        "favours the former; a verdict holds for these recipes."
    )
    study = store.read_json(folder / "study.json")
    found = {"finetune": {"tries": 20, "labels_per_class": "all"}}  # chosen by a search
    store.write_json(folder / "study.json", study | {"recipes": found})
    told = tuning.effort(load_study(folder))
    assert told == (
        "The recipe of ResNet-50, fine-tuned was searched, with up to 20 tries at a label budget, on "
        "validation "
        "images or folds inside it; the recipe of CNN from scratch was developed by hand on validation "
        "images: "
        "efforts differ; a verdict holds for these recipes."
    )
    cells = [
        {"arm": "finetune", "labels_per_class": budget, "seeds": [0], "recipe_name": name}
        for budget, name in ((1, "usual"), (10, "finetune"), (50, "usual"))
    ]
    store.write_json(folder / "study.json", study | {"recipes": found, "cells": cells})
    assert "recipe of ResNet-50, fine-tuned (with 10 labels a class alone) was searched" in tuning.effort(
        load_study(folder)
    )


def test_the_threats_say_where_an_arm_takes_what_was_found_for_another(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "study", arms=["cnn", "finetune"], test_images=300, claims=False, gallery=False
    )
    study = store.read_json(folder / "study.json")
    found = {"tries": 20, "labels_per_class": "all", "study": study["name"], "arm": "cnn"}
    cells = [
        {"arm": name, "labels_per_class": None, "seeds": [0], "recipe_name": "found"}
        for name in ("cnn", "finetune")
    ]
    store.write_json(folder / "study.json", study | {"recipes": {"found": found}, "cells": cells})
    assert tuning.effort(load_study(folder)) == (
        "The recipe of CNN from scratch was searched, with up to 20 tries at a label budget, on validation "
        "images or folds "
        "inside it; ResNet-50, fine-tuned takes what was found for CNN from scratch; a verdict holds for "
        "these "
        "recipes."
    )
