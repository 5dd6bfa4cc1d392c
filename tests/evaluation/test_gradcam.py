"""Where networks look: the step on a small study that is really trained, and the report's section from what
it stored."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from tests.support.small_cifar10 import small_cifar10

from headstart import plots, report, store
from headstart.data import load_dataset
from headstart.errors import StoreError
from headstart.evaluation import gradcam
from headstart.evaluation.gradcam import gradcam_ids, run_gradcam
from headstart.evaluation.records import read_arrays, read_gradcam
from headstart.plots.gradcam import _overlaid
from headstart.predict import predictor
from headstart.predict.gradcam import explain_image, upsampled
from headstart.predict.predictor import load_predictor
from headstart.results.published import adopt_readings, publish
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.types import ImageSet

STUDY = """name = "small"
dataset = "cifar10"
labels_per_class = [20]
seeds = [1, 0]
looks = true
[[arms]]
name = "cnn"
label = "Small CNN"
model = "cnn"
method = "scratch"
recipe_changes = { duration = "8 epochs", batch_size = 50, widths = [8, 16, 16] }
"""


@pytest.fixture(scope="module", autouse=True)
def few_images() -> Iterator[None]:
    with small_cifar10():
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with its looks, by the first of its seeds."""
    base = tmp_path_factory.mktemp("looks")
    (base / "small.toml").write_text(STUDY)
    return run_study(str(base / "small.toml"), base / "study")


@pytest.fixture
def study(done: Path, tmp_path: Path) -> Path:
    return shutil.copytree(done, tmp_path / "study")


def the_reading(study: Path) -> Path:
    [path] = [path for path in (study / "looks").glob("*.npz") if path.name != "images.npz"]
    return path


def section(html: str) -> str:
    start = html.index('<section id="looks">')
    return html[start : html.index("</section>", start)]


def test_the_first_seeds_network_is_read_on_one_image_a_class(done: Path) -> None:
    found = read_gradcam(done)
    assert found is not None and found.seed == 1 and found.labels.tolist() == list(range(10))
    test = load_dataset("cifar10").test
    assert (found.images == test.images[found.ids]).all() and found.images.dtype == np.uint8
    [look] = found.networks
    assert store.read_trial(done / look.key).seed == 1
    assert look.heatmaps.dtype == look.probabilities.dtype == np.float16
    assert look.heatmaps.shape[0] == 10 and look.probabilities.shape == (10, 10)
    assert look.heatmaps.min() >= 0 and look.heatmaps.max() == 1
    own = store.read_test(done / look.key)
    assert (
        look.predictions == own.logits[found.ids].argmax(axis=1)
    ).mean() >= 0.8  # float32 against the precision of the trial


def test_the_evidence_is_that_of_explain_for_the_networks_own_answer(done: Path) -> None:
    found = read_gradcam(done)
    assert found is not None
    explained = explain_image(load_predictor(done / found.networks[0].key), found.images[3])
    assert explained.target == found.networks[0].predictions[3]
    np.testing.assert_allclose(found.networks[0].heatmaps[3], explained.heatmap, atol=1e-3)
    np.testing.assert_allclose(found.networks[0].probabilities[3], explained.probabilities, atol=1e-3)


def test_a_finished_step_computes_nothing(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "load_predictor", None)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (study / "looks").glob("*.npz")}
    assert len(before) == 2 and run_gradcam(study, 1) == 1
    assert {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (study / "looks").glob("*.npz")
    } == before


def test_the_step_writes_the_same_bytes_again(study: Path) -> None:
    before = {path: path.read_bytes() for path in (study / "looks").glob("*.npz")}
    shutil.rmtree(study / "looks")
    assert run_gradcam(study, 1) == 1
    assert {path: path.read_bytes() for path in (study / "looks").glob("*.npz")} == before


def test_another_seed_reads_other_images_and_replaces_what_was_shown(study: Path) -> None:
    first = read_gradcam(study)
    assert run_gradcam(study) == 1
    second = read_gradcam(study)
    assert first is not None and second is not None and second.seed == 0 and set(first.ids) != set(second.ids)
    assert [each.key for each in second.networks] != [each.key for each in first.networks]


def test_a_trial_without_weights_is_left_out_in_a_line(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / the_reading(study).stem / "model.safetensors").unlink()
    assert run_gradcam(study, 1) == 1  # read before
    shutil.rmtree(study / "looks")
    assert run_gradcam(study, 1) == 0 and read_gradcam(study) is None
    assert "left out, for no model is kept with the trial: Small CNN" in capsys.readouterr().err
    assert 'id="looks"' not in report.write_report(study).read_text()


def test_without_captum_the_step_is_skipped_in_a_line(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(study / "looks")
    monkeypatch.setattr(gradcam, "find_spec", lambda name: None)
    assert run_gradcam(study, 1) == 0
    assert "captum is not installed: pip install 'headstart[explain]'" in capsys.readouterr().err


def test_a_model_that_is_no_network_is_left_out_and_the_others_are_read(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(models, tmp_path / "models")
    assert run_gradcam(folder) == 5
    found = read_gradcam(folder)
    assert found is not None and found.labels.tolist() == [0, 1, 2]
    assert re.search(
        r"where networks look: .* is left out: a kNN model answers by comparing", capsys.readouterr().err
    )
    part = section(report.write_report(folder).read_text())
    assert part.count("<image ") == 3 * 6 and "One trained network an arm, of trial seed 0" in part


def test_a_model_that_is_not_the_trials_is_refused(study: Path) -> None:
    reading = the_reading(study)
    other = next(
        path.parent for path in study.glob("*/model.safetensors") if path.parent.name != reading.stem
    )
    shutil.copy(other / "model.safetensors", study / reading.stem / "model.safetensors")
    shutil.rmtree(study / "looks")
    with pytest.raises(
        StoreError, match=r"predicts otherwise than the trial's stored logits on \d+ of 10 clean images"
    ):
        run_gradcam(study, 1)


def test_of_many_classes_twelve_are_shown() -> None:
    labels = np.repeat(np.arange(30), 3)
    images = ImageSet(
        images=np.zeros((90, 2, 2, 3), np.uint8),
        labels=labels,
        class_names=tuple(map(str, range(30))),
        fingerprint="0",
    )
    shown = labels[gradcam_ids(images, 0)]
    assert len(shown) == 12 and (np.diff(shown) > 0).all()
    assert (gradcam_ids(images, 0) == gradcam_ids(images, 0)).all() and (
        gradcam_ids(images, 1) != gradcam_ids(images, 0)
    ).any()


def test_the_report_shows_the_pictures_and_the_answers(done: Path) -> None:
    html = report.write_report(done).read_text()
    part = section(html)
    found = read_gradcam(done)
    assert found is not None
    right = int((found.networks[0].predictions == found.labels).sum())
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", part)).replace("\u2060", "")
    assert f"Small CNN answers {right} of 10 pictures right" in text
    assert "Selvaraju et al. 2017" in text and "n = 10 test images, one a class, drawn with seed 1" in text
    assert part.count("<image ") == 20 and part.count("\u202f% ✗") == 10 - right
    assert html.count('href="#looks"') == 1


def test_the_published_study_keeps_the_section_without_weights_or_torch(done: Path, tmp_path: Path) -> None:
    publish(done, tmp_path / "published")
    assert not list((tmp_path / "published").rglob("model.safetensors"))
    code = (
        "import sys; from pathlib import Path; from headstart.report import write_report\n"
        "write_report(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "published")], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"
    assert section((tmp_path / "published" / "report.html").read_text()) == section(
        report.write_report(done).read_text()
    )
    adopt_readings(tmp_path / "published", tmp_path / "adopted")
    reading = the_reading(tmp_path / "adopted")
    assert (read_arrays(reading)["evidence"] == read_arrays(the_reading(done))["evidence"]).all()


def test_a_study_asks_for_it_by_a_key(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    assert load_study(str(tmp_path / "small.toml"))[0].looks and load_study("cifar10")[0].looks
    (tmp_path / "small.toml").write_text(STUDY.replace("looks = true\n", ""))
    assert not load_study(str(tmp_path / "small.toml"))[0].looks


def test_evidence_is_drawn_as_explain_draws_it() -> None:
    evidence = np.random.default_rng(0).random((3, 3), dtype=np.float32)
    black = np.zeros((32, 32, 3), np.uint8)
    heat = upsampled(evidence, 32)
    wanted = 255 * (0.15 + 0.55 * heat[..., None]) * mpl.colormaps["inferno"](heat)[..., :3]
    np.testing.assert_allclose(_overlaid(black, evidence).astype(float), wanted, atol=2)


@pytest.mark.parametrize(("arms", "pictures"), [(1, 20), (2, 30), (5, 60)])
def test_the_figure_has_a_picture_an_arm_and_the_same_bytes_always(arms: int, pictures: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 80, 80, 3), dtype=np.uint8)
    styles = plots.arm_styles({str(k): f"Network {k}" for k in range(arms)})
    columns = [
        plots.GradCamColumn(
            style=style,
            heatmaps=rng.random((10, 3, 3)),
            predictions=["a very long class name"] * 10,
            probabilities=[0.5] * 10,
            right=[True] * 9 + [False],
        )
        for style in styles.values()
    ]
    first, again = (
        plots.svg_text(plots.gradcam_grid(images, ["dog"] * 10, columns), "fig", "d") for _ in range(2)
    )
    assert first == again and first.count("<image ") == pictures and first.count("✗") == arms
