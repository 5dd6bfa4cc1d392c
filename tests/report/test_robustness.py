"""The report's sections on other images: from the folder alone, present only where something was read."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.evaluation.corruptions import CORRUPTIONS
from headstart.evaluation.records import mean_difference, read_corrupted, robust_accuracy
from headstart.report.load import load_study
from headstart.report.sections import mistakes
from headstart.results.trials import main_trials


def write_readings(study: Path, images: int = 200, arms: tuple[str, ...] = ("cnn", "probe")) -> None:
    """Readings as the step writes them: the stored logits with noise that grows with severity."""
    ids = np.arange(0, 2 * images, 2)
    for number, arm in enumerate(arms):
        trial = main_trials(store.finished_trials(study))[arm][0]
        test = store.read_test(trial.folder)
        rng = np.random.default_rng(number)
        clean = test.logits[ids]
        arrays = {"ids": ids, "labels": test.labels[ids], "clean": clean}
        for k, name in enumerate(CORRUPTIONS):
            noise = [0.3 * s * (1 + k % 4) * (1 + number) for s in range(1, 6)]
            arrays[name] = np.stack([clean + rng.normal(0, level, clean.shape) for level in noise]).astype(
                "f4"
            )
        store.write_npz(study / "robustness" / f"{trial.key}.npz", arrays)
        store.write_json(
            study / "robustness" / f"{trial.key}.json",
            {
                "key": trial.key,
                "arm": arm,
                "settings": {"images": images, "seed": 0},
                "seconds": {"corrupt": 1.0, "predict": 2.0},
            },
        )
    sheet = np.random.default_rng(0).integers(0, 256, (15, 5, 2, 32, 32, 3), dtype=np.uint8)
    store.write_npz(
        study / "robustness" / "sheet.npz", {"clean": sheet[0, 0], "corrupted": sheet, "ids": ids[:2]}
    )


def write_shift(study: Path, name: str = "CIFAR-10.1") -> None:
    for arm in ("cnn", "probe"):
        trial = main_trials(store.finished_trials(study))[arm][0]
        test = store.read_test(trial.folder)
        right = int((test.logits.argmax(1) == test.labels).sum())
        logits = test.logits[:100] + np.random.default_rng(1).normal(0, 2, (100, 10))
        store.write_npz(
            study / "shift" / name / f"{trial.key}.npz", {"logits": logits, "labels": test.labels[:100]}
        )
        store.write_json(
            study / "shift" / name / f"{trial.key}.json",
            {
                "set": name,
                "key": trial.key,
                "arm": arm,
                "fingerprint": "0",
                "test_right": right,
                "test_images": len(test.labels),
            },
        )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_synthetic_study(tmp_path_factory.mktemp("runs") / "study", test_images=1000)
    write_readings(folder)
    write_shift(folder)
    return folder


@pytest.fixture(scope="module")
def html(study: Path) -> str:
    return report.write_report(study).read_text()


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("\u2060", "")


def test_the_sections_say_what_the_logits_say(study: Path, html: str) -> None:
    text = text_of(html[html.index('id="robustness"') : html.index('id="shift"')])
    first, second = sorted(read_corrupted(study), key=lambda each: -robust_accuracy(each).mean.value)
    for each in (first, second):
        found = robust_accuracy(each)
        low, high = found.mean.interval
        assert f"{100 * found.mean.value:.1f} % {100 * low:.1f} to {100 * high:.1f}" in text
        assert f"{100 * found.drop.value:.1f}" in text
        assert all(f"{100 * value.value:.1f} %" in text for value in found.by_corruption.values())
    gap = mean_difference(first, second)
    assert gap.interval[0] > 0 and f"Under corruption the first is {100 * gap.value:.1f}" in text
    assert "CIFAR-10.1 100 images of 10 classes" in text_of(html)


def test_arms_that_were_to_be_read_and_were_not_are_named(study: Path, html: str, tmp_path: Path) -> None:
    assert "Not read yet" not in html
    copy = shutil.copytree(study, tmp_path / "study")
    told = store.read_json(copy / "study.json")
    store.write_json(copy / "study.json", told | {"robustness": {"arms": ["cnn", "probe"]}})
    (copy / "robustness" / f"{main_trials(store.finished_trials(copy))['cnn'][0].key}.json").unlink()
    text = text_of(report.write_report(copy).read_text())
    assert "Not read yet: CNN from scratch." in text


def test_the_bill_counts_the_readings(html: str) -> None:
    bill = text_of(html[html.index('aria-label="Cost beside the trials"') :]).replace("\u202f", " ")
    assert (
        "Models read on corrupted images 2 6.0 s Models read on shift sets 2 not recorded With the trials at "
        "least " in bill
    )


def test_the_sheet_shows_every_corruption(html: str) -> None:
    sheet = html[html.index('class="sheet"') : html.index('id="shift"')]
    assert sheet.count("<img") == 15
    assert (
        re.findall(r'width="(\d+)" height="(\d+)"', sheet) == [("197", "65")] * 15
    )  # 6 x 32 + 5, 2 x 32 + 1
    assert [title.strip() for title in re.findall(r'class="truth">([^<]+)<', sheet)] == [
        each.title for each in CORRUPTIONS.values()
    ]


def test_a_study_without_readings_has_no_such_sections(tmp_path: Path) -> None:
    html = report.write_report(write_synthetic_study(tmp_path / "study", test_images=300)).read_text()
    assert not re.search(r'id="(robustness|shift)"|href="#(robustness|shift)"', html)


def test_readings_of_other_images_are_left_out_and_counted(study: Path, tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "study", arms=3, test_images=1000)
    write_readings(folder, arms=("cnn", "probe"))
    write_readings(folder, images=50, arms=("probe-64",))
    html = report.write_report(folder).read_text()
    assert "1 reading of other images is left out" in text_of(html)
    table = html[html.index('aria-label="Accuracy under corruption"') :]
    assert table[: table.index("</table>")].count('scope="row"') == 2


def test_confusions_and_agreement_are_counted_from_the_logits(study: Path, html: str) -> None:
    tests = {
        arm: store.read_test(items[0].folder)
        for arm, items in main_trials(store.finished_trials(study)).items()
    }
    text = text_of(html)
    cnn, probe = (tests[arm].logits.argmax(1) for arm in ("cnn", "probe"))
    both_wrong = ((cnn != tests["cnn"].labels) & (probe != tests["probe"].labels)).mean()
    assert f"{100 * (cnn == probe).mean():.1f} %" in text[text.index("How far the arms err together") :]
    panel = html[html.index('id="wrong-for-all"') :]
    assert f"{round(1000 * both_wrong)} images" in panel[:400]
    assert panel[: panel.index("Most confidently wrong")].count("<img") == min(12, round(1000 * both_wrong))
    taken = ((cnn == 5) & (tests["cnn"].labels == 3)).sum() / (tests["cnn"].labels == 3).sum()
    assert f"cat taken for dog {100 * taken:.1f} %" in text


def test_of_many_arms_only_the_pairs_with_a_headline_arm_are_listed(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "many", arms=8, test_images=300, claims=False, gallery=False)
    view = load_study(folder)
    found = mistakes.agreements(view)
    ranked = sorted(view.arms, key=lambda arm: -(arm.mean("test_accuracy") or 0))
    starts = {arm.name: not arm.stored.is_pretrained for arm in ranked}
    first, second = ranked[0], next(arm for arm in ranked if starts[arm.name] != starts[ranked[0].name])
    best = {first.name, second.name}
    assert found.pairs == 28 and len(found.rows) == 13  # 7 with the first, 6 more with the second
    assert all({row.a.name, row.b.name} & best for row in found.rows)
    assert {arm.name for arm in found.about} == best
    text = text_of(report.write_report(folder).read_text())
    assert (
        f"Of the 28 pairs of arms, the 13 with {first.label} or {second.label}, which the answer compares"
        in text
    )


def test_of_six_arms_every_pair_is_listed(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "six", arms=6, test_images=300, claims=False, gallery=False)
    found = mistakes.agreements(load_study(folder))
    assert len(found.rows) == found.pairs == 15 and found.about == ()


def test_calibration_shows_both_temperatures(html: str) -> None:
    figure = html[html.index('id="fig-reliability"') :]
    figure = figure[: figure.index("</figure>")]
    assert figure.count("ECE ") >= 2 and figure.count("T = ") == 2
    assert "after temperature scaling both are within" in text_of(figure)


def test_reporting_them_needs_no_torch(study: Path, html: str) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart.report import write_report\n"
        "write_report(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(study)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    assert (study / "report.html").read_text() == html
