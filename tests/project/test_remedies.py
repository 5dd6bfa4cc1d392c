"""Every remedy that is printed works and loses nothing: a table provokes each message, then does what it
says.

A study is really run once: trials, corrupted images, a shift set, Grad-CAM, an examination of the data and a
search. Each case copies it, spoils one file, meets the message, follows the remedy and finds everything as it
was before.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

import headstart
import headstart.data_quality.dataset as data_health
from headstart import store
from headstart.data import load_dataset
from headstart.data.folders.owner import claim
from headstart.errors import HeadstartError, WeightsError
from headstart.evaluation.records import read_arrays, read_corrupted, read_gradcam, read_shifted
from headstart.evaluation.shift_sets import load_shift_set
from headstart.evaluation.study import check_predictions
from headstart.models.weights import load_state_file
from headstart.predict.predictor import load_predictor
from headstart.predict.saved import read_model
from headstart.report.load import load_study
from headstart.report.sections.spending import spending
from headstart.results.published import publish
from headstart.studies.run import run_study
from headstart.training.logistic import fit_path
from headstart.tuning.search import SearchRequest, tune

GOLDEN = Path(__file__).parents[1] / "golden"
STUDY = """name = "small"
dataset = "photos"
labels_per_class = [5, "all"]
precision = "fp32"
feature_precision = "fp32"
looks = true
data_health = true
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = { duration = "2 steps", batch_size = 8, widths = [8, 16, 16] }
[robustness]
images = 3
[[shift_sets]]
name = "elsewhere"
path = "photos"
"""


def _without_features(*_: object) -> object:
    raise WeightsError("none in this test")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.toml, photos/, the study's folder run/ and what was published of it, trials/."""
    folder = tmp_path_factory.mktemp("remedies")
    shutil.copytree(GOLDEN / "photos", folder / "photos")
    (folder / "small.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(data_health, "_features", _without_features)
        _run_study()
        _tune()
        publish(Path("run"), Path("site/trials"))
    return folder


@pytest.fixture
def here(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, entered."""
    folder = tmp_path / "here"
    shutil.copytree(base, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(data_health, "_features", _without_features)
    return folder


def _run_study() -> None:
    run_study("small.toml", "run")


def _tune() -> None:
    tune("small.toml", SearchRequest(arms=("cnn",), candidates=2), out="run")


def _report() -> None:
    """All that `headstart report` reads; what it draws of it is left out, for it takes ten times as long."""
    view = load_study(Path("run"))
    spending(view)
    read_corrupted(view.folder)
    read_arrays(view.folder / "robustness" / "sheet.npz")
    read_shifted(view.folder)
    read_gradcam(view.folder)


def _predict() -> None:
    for trial in store.finished_trials(Path("run")):
        load_predictor(trial.folder).logits(np.load(GOLDEN / "images.npy")[:1])


def _trial() -> Path:
    return store.finished_trials(Path("run"))[0].folder


def _one(pattern: str) -> Path:
    return sorted(Path("run").glob(pattern))[0]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _retrain() -> None:
    """Rename result.json to result.json.damaged and run its study again."""
    folder = next(each.folder for each in store.finished_trials(Path("run")) if not _loads(each.folder))
    (folder / "result.json").rename(folder / "result.json.damaged")
    _run_study()


def _loads(folder: Path) -> bool:
    try:
        load_predictor(folder)
        return True
    except HeadstartError:
        return False


def _check_predictions() -> None:
    trial = store.finished_trials(Path("run"))[0]
    ids = store.read_test(trial.folder).example_ids
    images = np.ascontiguousarray(load_dataset("photos").test.images[ids])
    check_predictions(trial.folder, load_predictor(trial.folder).logits(images), ids)


def _train_otherwise() -> None:
    """As if somebody had put another whole model there."""
    saved = read_model(_trial())
    state = {
        name: -3 * value if value.is_floating_point() else value for name, value in saved.read_state().items()
    }
    saved.write(_trial(), state)


def _retrain_the_first() -> None:
    result = _trial() / "result.json"
    result.rename(result.with_name("result.json.damaged"))
    _run_study()


@dataclass(frozen=True, kw_only=True)
class Case:
    """spoil: what happens to the folder. meet: the command that says `says`. remedy: what that asks for. meet
    then passes."""

    spoil: Callable[[], object]
    meet: Callable[[], object]
    says: str
    remedy: Callable[[], object] = _run_study


def _put_back() -> None:
    """Put the file back as it was published."""
    shutil.rmtree("site/trials")
    publish(Path("run"), Path("site/trials"))


def _report_published() -> None:
    load_study(Path("site/trials"))


TRIAL = "run its study again, which computes this trial anew and keeps the others"
READING = "run `headstart robustness`, `headstart shift` or the study again"
CASES = {
    "result.json": Case(spoil=lambda: _cut(_trial() / "result.json"), meet=_report, says=TRIAL),
    "history.jsonl": Case(spoil=lambda: _cut(_trial() / "history.jsonl"), meet=_report, says=TRIAL),
    "trial.json": Case(spoil=lambda: _flip(_trial() / "trial.json"), meet=_report, says=TRIAL),
    "manifest.json": Case(spoil=lambda: _cut(_trial() / "manifest.json"), meet=_report, says=TRIAL),
    "no manifest.json": Case(spoil=lambda: (_trial() / "manifest.json").unlink(), meet=_report, says=TRIAL),
    "predictions.npz": Case(spoil=lambda: _flip(_trial() / "predictions.npz"), meet=_report, says=TRIAL),
    "no predictions.npz": Case(
        spoil=lambda: (_trial() / "predictions.npz").unlink(), meet=_report, says=TRIAL
    ),
    "another key": Case(spoil=lambda: _trial().rename(Path("run") / ("0" * 64)), meet=_report, says=TRIAL),
    "study.json": Case(
        spoil=lambda: _cut(Path("run/study.json")),
        meet=_report,
        says="run the study again with the same command, which writes it anew and keeps every finished trial",
    ),
    "gallery.npz": Case(
        spoil=lambda: _cut(Path("run/gallery.npz")),
        meet=_report,
        says="run the study again with the same command",
    ),
    "corrupted images, arrays": Case(
        spoil=lambda: _cut(_one("robustness/[0-9a-f]*.npz")), meet=_report, says=READING
    ),
    "corrupted images, no arrays": Case(
        spoil=lambda: _one("robustness/[0-9a-f]*.npz").unlink(), meet=_report, says=READING
    ),
    "corrupted images, record": Case(
        spoil=lambda: _cut(_one("robustness/*.json")), meet=_report, says=READING
    ),
    "corrupted images, sheet": Case(
        spoil=lambda: _cut(Path("run/robustness/sheet.npz")), meet=_report, says=READING
    ),
    "shift set, arrays": Case(spoil=lambda: _cut(_one("shift/*/*.npz")), meet=_report, says=READING),
    "shift set, record": Case(spoil=lambda: _cut(_one("shift/*/*.json")), meet=_report, says=READING),
    "Grad-CAM, a network": Case(spoil=lambda: _cut(_one("looks/[0-9a-f]*.npz")), meet=_report, says=READING),
    "Grad-CAM, images": Case(spoil=lambda: _cut(Path("run/looks/images.npz")), meet=_report, says=READING),
    "examination, record": Case(
        spoil=lambda: _cut(Path("run/health.json")), meet=_report, says="or the study's command, which writes"
    ),
    "examination, arrays": Case(
        spoil=lambda: _cut(Path("run/health.npz")), meet=_report, says="or the study's command, which writes"
    ),
    "search": Case(
        spoil=lambda: _cut(_one("tuning/*/tuning.json")),
        meet=_report,
        says="run `headstart tune` again with the same command, which sets it aside and tries anew",
        remedy=_tune,
    ),
    "model": Case(
        spoil=lambda: _flip(_trial() / "model.safetensors"),
        meet=_predict,
        says="to result.json.damaged and run its study again",
        remedy=_retrain,
    ),
    "no model": Case(
        spoil=lambda: (_trial() / "model.safetensors").unlink(),
        meet=_predict,
        says="to result.json.damaged and run its study again",
        remedy=_retrain,
    ),
    "another model": Case(
        spoil=_train_otherwise,
        meet=_check_predictions,
        says="to result.json.damaged and run its study again",
        remedy=_retrain_the_first,
    ),
    "a folder that is no trial's": Case(
        spoil=lambda: shutil.copytree(_trial(), Path("run/copy")),
        meet=_report,
        says="move that folder out of",
        remedy=lambda: Path("run/copy").rename("copy"),
    ),
    "a link": Case(
        spoil=lambda: (
            (path := _one("*/history.jsonl")).rename("elsewhere.jsonl"),
            path.symlink_to(Path("elsewhere.jsonl").resolve()),
        ),
        meet=_report,
        says="put the file itself there",
        remedy=lambda: Path("elsewhere.jsonl").replace(_one("*/history.jsonl")),
    ),
    "another search": Case(
        spoil=lambda: Path("small.toml").write_text(STUDY.replace("[8, 16, 16]", "[8, 16, 24]")),
        meet=_tune,
        says="move that folder elsewhere",
        remedy=lambda: _one("tuning/*").rename("elsewhere"),
    ),
    "published, result.json": Case(
        spoil=lambda: _cut(sorted(Path("site/trials").glob("*/result.json"))[0]),
        meet=_report_published,
        says="of published trials put the file back as it was published",
        remedy=_put_back,
    ),
    "published, study.json": Case(
        spoil=lambda: _cut(Path("site/trials/study.json")),
        meet=_report_published,
        says="put the file back as it was published",
        remedy=_put_back,
    ),
}


def _state(folder: Path) -> dict[str, object]:
    """What must not be lost: each trial's key and logits, and what was read beside the trials, without
    times."""
    found: dict[str, object] = {}
    for trial in store.finished_trials(folder):
        logits = store.read_test(trial.folder).logits
        found[trial.key] = (dict(trial.metrics), logits.tobytes())
    for path in sorted(folder.rglob("*.npz")):
        name = path.relative_to(folder).as_posix()
        if not store.is_key(name.split("/")[0]):
            found[name] = {k: v.tobytes() for k, v in store.read_npz(path, "").items() if k != "seconds"}
    for search in store.study_searches(folder):
        found[search.question] = [(each.values, each.accuracy) for each in search.candidates]
    found["files"] = sorted(
        name
        for path in folder.rglob("*")
        if path.is_file() and not (name := path.relative_to(folder).as_posix()).endswith((".damaged", "lock"))
    )
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works_and_loses_nothing(here: Path, name: str) -> None:
    case, folder = CASES[name], Path("site/trials" if name.startswith("published") else "run")
    before = _state(folder)
    case.spoil()
    with pytest.raises(HeadstartError, match=case.says) as error:
        case.meet()
    assert "\n" not in str(error.value)
    case.remedy()
    case.meet()
    after = _state(folder)
    if name != "another search":  # which is another one from here on
        assert set(before.pop("files")) <= set(after.pop("files"))
        assert after == before


def _classes(**counts: int) -> None:
    """A folder of images with so many of each class."""
    photos = sorted((GOLDEN / "photos").rglob("*.png"))
    for name, count in counts.items():
        home = Path("own", name)
        home.mkdir(parents=True)
        for _ in range(count):
            shutil.copy(photos.pop(), home)


def _rows(drop: int = 0) -> list[str]:
    images = sorted(path.relative_to("own").as_posix() for path in Path("own").rglob("*.png"))
    return [f"{name},{name[0]}" for name in images][drop:]


def _load() -> None:
    load_dataset("own")


def _load_table() -> None:
    load_dataset("own/labels.csv")


def _fitted(*rows: int) -> None:
    values = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    values[5, 0] = np.nan
    labels = np.arange(12) % 2
    fit_path(values, labels, num_classes=2, l2_values=[1.0], ids=np.array(rows or range(12)))


def _own_weights(state: bytes | None = None) -> None:
    path = Path("own.safetensors")
    if state is None:
        load_state_file(path)
    else:
        path.write_bytes(state)


OWN = {
    "a file that is no image": Case(
        spoil=lambda: (_classes(a=4, b=4), Path("own/a/x.png").write_bytes(b"nothing")),
        meet=_load,
        says="mend or remove them, or pass --skip-bad",
        remedy=lambda: Path("own/a/x.png").unlink(),
    ),
    "a class of one image": Case(
        spoil=lambda: _classes(a=4, b=4, c=1),
        meet=_load,
        says="or remove the class",
        remedy=lambda: shutil.rmtree("own/c"),
    ),
    "no images": Case(
        spoil=lambda: (Path("own/a").mkdir(parents=True), Path("own/b").mkdir()),
        meet=_load,
        says="put PNG, JPEG, WebP, HEIC, ... files into the class folders",
        remedy=lambda: (shutil.rmtree("own"), _classes(a=4, b=4)),
    ),
    "images of one class only": Case(
        spoil=lambda: (_classes(a=4), Path("own/b").mkdir()),
        meet=_load,
        says="put images into the folder of a second class",
        remedy=lambda: (shutil.rmtree("own"), _classes(a=4, b=4)),
    ),
    "a table without a header": Case(
        spoil=lambda: (_classes(a=4, b=4), Path("own/labels.csv").write_text("\n".join(_rows()))),
        meet=_load_table,
        says="has no header: its first line is",
        remedy=lambda: Path("own/labels.csv").write_text("\n".join(["path,label", *_rows()])),
    ),
    "two different columns of one name": Case(
        spoil=lambda: (
            _classes(a=4, b=4),
            Path("own/labels.csv").write_text(
                "\n".join(["path,label,label", *(f"{row},{place}" for place, row in enumerate(_rows()))])
            ),
        ),
        meet=_load_table,
        says="rename all but one",
        remedy=lambda: Path("own/labels.csv").write_text(
            "\n".join(["path,label,place", *(f"{row},{place}" for place, row in enumerate(_rows()))])
        ),
    ),
    "a row without a path": Case(
        spoil=lambda: (
            _classes(a=4, b=4),
            Path("own/labels.csv").write_text("\n".join(["path,label", *_rows(), ",a"])),
        ),
        meet=_load_table,
        says="fill it or remove the row",
        remedy=lambda: Path("own/labels.csv").write_text("\n".join(["path,label", *_rows()])),
    ),
    "a cell with a comma": Case(
        spoil=lambda: (
            _classes(a=4, b=4),
            Path("own/labels.csv").write_text("\n".join(["path,label", *_rows(1), f"{_rows()[0]}, b"])),
        ),
        meet=_load_table,
        says="put quotes around cells with a",
        remedy=lambda: Path("own/labels.csv").write_text("\n".join(["path,label", *_rows()])),
    ),
    "features that are not finite": Case(
        spoil=lambda: None,
        meet=lambda: _fitted(*(row for row in range(12) if row != 5 or not Path("left-out").exists())),
        says="leave that image out",
        remedy=lambda: Path("left-out").touch(),
    ),
    "another folder's results": Case(
        spoil=lambda: (Path("own").mkdir(), Path("other").mkdir(), claim(Path("out"), Path("other"), "")),
        meet=lambda: claim(Path("out"), Path("own"), ""),
        says="or move that folder elsewhere",
        remedy=lambda: Path("out").rename("elsewhere"),
    ),
    "a damaged note of whose results these are": Case(
        spoil=lambda: (Path("own").mkdir(), Path("out").mkdir(), Path("out/belongs-to.json").write_text("{")),
        meet=lambda: claim(Path("new" if Path("new").exists() else "out"), Path("own"), ""),
        says="run the command that wrote its folder again with another --out",
        remedy=lambda: Path("new").mkdir(),
    ),
    "weights": Case(
        spoil=lambda: _own_weights(save({"x": torch.zeros(3)})[:-1]),
        meet=_own_weights,
        says="fetch it again",
        remedy=lambda: _own_weights(save({"x": torch.zeros(3)})),
    ),
    "a class of a shift set": Case(
        spoil=lambda: _classes(a=2, x=2),
        meet=lambda: load_shift_set(Path("own"), ["a", "b"], 32),
        says="rename or remove it",
        remedy=lambda: Path("own/x").rename("own/b"),
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_the_remedy_for_what_somebody_gives_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    case = OWN[name]
    case.spoil()
    with pytest.raises(HeadstartError, match=case.says) as error:
        case.meet()
    assert "\n" not in str(error.value)
    case.remedy()
    case.meet()


# Of all other sentences with one of these words: the test that tries it, or why there is nothing to lose.
_WORDS = re.compile(r"\b(delete|remove|rename|move that|move it|put|again|anew)\b")
_ELSEWHERE = {
    "make it again: headstart report": "tests/report/test_bundle.py",
    "delete it and run the same command again, which makes it anew": "tests/models/test_int8.py",
    "move it away, then make the links again": "tests/app/test_sorting.py",
}
_ANNOUNCED = (  # by the program, which then does it: tests of damaged caches, checkpoints, searches, readings
    "it is planned anew",
    "the fold is read anew",
    "building {} again",
    "was fitted anew on all {} images",
    "fetching it again",
    "The data are examined anew",
    "It is made anew",
    "they are computed again",
    "images are decoded again",
    "it is made again",
    "making it anew",
    "this training begins anew",
    "the trial begins anew",
    "this search begins anew",
    "the next study measures again",
    "runs the failed ones again",
    "Delete one kind, all of which is made or fetched again",
)
_TRY_AGAIN = (
    "try again",
    "try it again",
    "came damaged; run the same command again",
    "ask for advice again",
    "sort the folder again",
    "put {} ({}) into {}",
    "fetch both files again",
    "is not there; fetch it again",
)
_VERIFIED = (  # archives whose hash is compared before they are read
    "has no {}; delete it and run the same command again",
    "is damaged ({}); delete it and run the same command again",
    "delete the archive and fetch it again",
    "has no frost textures",
    "delete it and try again",
    "install it anew",
    "install it again",
    "is damaged; delete it and run the same command again",
)
_OF_PEOPLE = (  # about images, tables and names that only their owner can change; none is written to
    "rename them",
    "can name no folder; rename it",
    "has bytes that are no UTF-8; rename that folder",
    "rename one folder",
    "mend or remove",
    "or remove it",
    "it is no regular file; remove it from the folder",
    "fill the label or remove the rows",
    "the labels ({}, ...)",
    "remove them",
    "rename or convert those",
    "has no image in train",
    "sort the others into train/CLASS and these into test/CLASS, or move it away",
)
_STATES_A_FACT = (  # a study's command, which keeps what is finished (all cases above run it)
    "run the study again",
    "run its study again and use the model then",
    "restore them, or run the study anew",
    "train the model again",
    "put the file back as it was",
    "run the same command again, which makes it anew",  # tests/models/test_features.py
)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


def _sentences() -> list[tuple[str, str]]:
    """(file, text) of every string of the program but docstrings and the report's prose."""
    root, sentences = Path(headstart.__file__).parent, []
    for path in sorted(root.rglob("*.py")):
        tree, passed = ast.parse(path.read_text(encoding="utf-8")), set[ast.AST]()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr):
                passed.add(node.value)
            if isinstance(node, ast.JoinedStr):
                passed.update(node.values)
        name = path.relative_to(root).as_posix()
        if not name.startswith("report/"):
            texts = [_text(node) for node in ast.walk(tree) if node not in passed]
            sentences += [(name, text) for text in texts if text]
    return sentences


def test_no_remedy_is_printed_that_is_not_tried() -> None:
    tried = [*(case.says for case in CASES.values()), *(case.says for case in OWN.values())]
    listed = [*_ELSEWHERE, *_ANNOUNCED, *_TRY_AGAIN, *_VERIFIED, *_OF_PEOPLE, *_STATES_A_FACT]
    unknown = [
        f"{name}: {text}"
        for name, text in _sentences()
        if _WORDS.search(text)
        and not any(part in text for part in listed)
        and not any(part in text for part in tried)
    ]
    assert unknown == []
