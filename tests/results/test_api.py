"""Finished studies from Python: comparisons, claims, summaries, figures and galleries of a study's folder."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from tests.support.synthetic_study import write_synthetic_study

import headstart
from headstart import plots
from headstart.errors import ConfigError, StoreError
from headstart.types import ImageSet


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cnn and finetune, three seeds each."""
    return write_synthetic_study(
        tmp_path_factory.mktemp("runs") / "made-up", arms=["cnn", "finetune"], seeds=3, test_images=400
    )


def test_the_effect_and_interval_are_those_of_a_paired_t_test(study: Path) -> None:
    comparison = headstart.compare(study, "finetune", "cnn", "test_accuracy")
    table = pd.read_csv(study / "results.csv").set_index(["arm", "seed"])["test_accuracy"]
    reference = stats.ttest_rel(table["finetune"], table["cnn"])
    low, high = reference.confidence_interval(0.95)
    (row,) = comparison.frame().to_dict("records")
    assert (row["a"], row["b"], row["metric"], row["n"]) == ("finetune", "cnn", "test_accuracy", 3)
    assert row["effect"] == pytest.approx(np.mean(table["finetune"].values - table["cnn"].values))
    assert (row["low_over_seeds"], row["high_over_seeds"]) == pytest.approx((low, high))
    assert row["over"] == "seeds and images" and row["p_value"] < 0.05
    low, high = row["low"], row["high"]
    assert row["verdict"] == ("supported" if low > 0 else "refuted" if high < 0 else "inconclusive")


def test_what_test_images_do_not_give_has_the_interval_over_seeds_alone(study: Path) -> None:
    table = pd.read_csv(study / "results.csv").set_index(["arm", "seed"])["val_accuracy"]
    low, high = stats.ttest_rel(table["finetune"], table["cnn"]).confidence_interval(0.95)
    (row,) = headstart.compare(study, "finetune", "cnn", "val_accuracy").frame().to_dict("records")
    assert (row["low"], row["high"], row["over"]) == (pytest.approx(low), pytest.approx(high), "seeds")


def test_several_metrics_are_one_family(study: Path) -> None:
    alone = headstart.compare(study, "finetune", "cnn", "test_nll").frame().loc[0]
    together = headstart.compare(study, "finetune", "cnn", ["test_nll", "test_accuracy", "test_ece"]).frame()
    assert len(together) == 3
    assert together.loc[0, "p_value"] > alone["p_value"]
    assert together.loc[0, "effect"] == alone["effect"]


def test_which_way_is_better_belongs_to_the_metric(study: Path) -> None:
    findings = headstart.compare(study, "cnn", "finetune", ["test_accuracy", "seconds"], margin=0.5).findings
    assert [finding.claim.direction for finding in findings] == ["higher", "lower"]
    assert findings[0].claim.sentence == "cnn is better than finetune: Test accuracy, higher by more than 0.5"


def test_one_seed_is_no_verdict_and_no_interval(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "one", arms=2, seeds=1, test_images=200)
    row = headstart.compare(folder).frame().loc[0]
    assert row["verdict"] == "n/a" and math.isnan(row["low"]) and math.isnan(row["p_value"])
    assert row["note"].startswith("one pair, so no interval over seeds")
    assert "n/a" in headstart.compare(folder)._repr_html_()


def test_arms_must_be_named_where_there_are_not_two(tmp_path: Path, study: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "three", arms=3, seeds=1, test_images=100, history=False, gallery=False
    )
    with pytest.raises(
        ConfigError, match=r"this study has 3 arms; name the two to compare: cnn, probe, probe-64"
    ):
        headstart.compare(folder)
    with pytest.raises(
        ConfigError,
        match=r"unknown arm 'fine-tune' \(did you mean 'finetune'\?\); choose from: cnn, finetune",
    ):
        headstart.compare(study, "cnn", "fine-tune")


def test_claims_are_those_of_the_study_file(study: Path) -> None:
    frame = headstart.judge_claims(study).frame()
    assert list(frame["claim"]) == [
        "CNN from scratch is more accurate than ResNet-50, fine-tuned",
        "ResNet-50, fine-tuned is at least ten points better",
        "ResNet-50, fine-tuned is better calibrated",
    ]
    assert set(frame["verdict"]) <= {"supported", "refuted", "inconclusive"}


def test_a_summary_has_a_row_an_arm(study: Path) -> None:
    summary = headstart.load_summary(study)
    assert summary[["arm", "n"]].to_dict("list") == {"arm": ["cnn", "finetune"], "n": [3, 3]}


def test_a_finished_study_is_found_from_below(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "clone"
    write_synthetic_study(
        home / "docs" / "results" / "quick", arms=2, test_images=50, history=False, gallery=False
    )
    (home / "notebooks").mkdir()
    monkeypatch.chdir(home / "notebooks")
    assert headstart.find_study("full", "quick") == Path("../docs/results/quick")
    with pytest.raises(
        StoreError, match=r"no finished trial of full or big at or above notebooks; run: headstart study full"
    ):
        headstart.find_study("full", "big")
    with pytest.raises(StoreError, match="holds no finished trial"):
        headstart.load_summary(home / "notebooks")


def test_a_newer_place_wins_over_the_kept_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("docs/results/quick", "runs/quick"):
        write_synthetic_study(tmp_path / place, arms=2, test_images=50, history=False, gallery=False)
    monkeypatch.chdir(tmp_path)
    assert headstart.find_study("quick") == Path("runs/quick")


def test_every_figure_of_the_report_is_there_on_white(study: Path) -> None:
    figures = headstart.load_figures(study)
    assert {
        "accuracy",
        "answer-cost",
        "curves-epochs",
        "curves-seconds",
        "time",
        "cost",
        "classes",
        "reliability",
        "confusion-cnn",
        "confusion-finetune",
        "pareto-flops",
        "pareto-seconds",
    } == set(figures)
    for figure in figures.values():
        assert figure.message and figure.caption
        assert figure.svg.index("<svg") < figure.svg.index('fill="#ffffff"') < 3000


def test_the_gallery_names_class_and_answers(study: Path) -> None:
    gallery = headstart.load_gallery(study)
    assert {"cnn-not-finetune", "finetune-not-cnn", "sure-cnn", "sure-finetune"} == set(gallery)
    assert gallery["cnn-not-finetune"].message == "CNN from scratch right, ResNet-50, fine-tuned wrong"
    with Image.open(io.BytesIO(gallery["sure-cnn"].png)) as picture:
        assert picture.width == 2 * gallery["sure-cnn"].width == 960


def test_a_grid_shows_pixels_as_they_are() -> None:
    images = np.zeros((3, 2, 2, 3), np.uint8)
    images[1, ..., 0] = 255
    with Image.open(io.BytesIO(headstart.show(plots.image_grid(images, columns=3)).png)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    middle = pixels.shape[0] // 2
    assert [tuple(map(int, pixels[middle, int(960 * (k + 0.5) / 3)])) for k in range(3)] == [
        (0, 0, 0),
        (255, 0, 0),
        (0, 0, 0),
    ]


def test_filters_are_brought_to_their_own_range() -> None:
    ramp = np.stack([np.full((1, 1, 3), -4.0), np.full((1, 1, 3), 4.0)], axis=1).reshape(1, 1, 2, 3)
    with Image.open(io.BytesIO(headstart.show(plots.image_grid(ramp, columns=1)).png)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    row = pixels[pixels.shape[0] // 2]
    assert tuple(map(int, row[200])) == (0, 0, 0) and tuple(map(int, row[760])) == (255, 255, 255)


def _texts(figure: object) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]  # type: ignore[attr-defined]


def test_class_counts_write_every_number_that_fits() -> None:
    figure = plots.class_counts(["cat", "dog"], {"training": [40, 30], "test": [10, 1]}, "Images")
    assert [text for text in _texts(figure) if text.isdigit()] == ["40", "30", "10"]


def test_a_map_names_every_class_that_has_points() -> None:
    points, labels = np.arange(8.0).reshape(4, 2), np.array([0, 0, 2, 2])
    assert _texts(plots.embedding(points, labels, ["cat", "dog", "frog"], "map")) == ["cat", "frog"]


def test_lines_end_in_their_name_and_value() -> None:
    figure = plots.lines([1, 10], {"probe": [0.5, 0.625]}, "labels a class", "accuracy", log_x=True)
    assert _texts(figure) == ["probe 62.5\u202f%"]


@pytest.fixture
def pictures() -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    return ImageSet(
        images=images, labels=np.array([1, 0, 1, 0, 1, 0]), class_names=("cat", "dog"), fingerprint="x"
    )


def test_a_folder_holds_the_first_images_of_each_class(pictures: ImageSet, tmp_path: Path) -> None:
    folder = headstart.write_image_folder(pictures, tmp_path / "photos", per_class=2)
    written = {
        str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))
    }
    assert list(written) == ["cat/000000.png", "cat/000001.png", "dog/000000.png", "dog/000001.png"]
    for name, place in zip(written, (1, 3, 0, 2), strict=True):
        np.testing.assert_array_equal(written[name], pictures.images[place])


def test_a_class_with_too_few_images_is_told(pictures: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4 images a class asked for, but 'dog' has 3; ask for fewer"):
        headstart.write_image_folder(pictures, tmp_path / "photos", classes=["dog"], per_class=4)
    with pytest.raises(ConfigError, match="unknown class 'frog'"):
        headstart.write_image_folder(pictures, tmp_path / "photos", classes=["frog"], per_class=1)
