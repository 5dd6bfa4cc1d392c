"""Every kind of file that the program reads back, small and whole, each with the reader that users meet."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.support.small_training import step_of
from tests.support.synthetic_study import write_synthetic_study

from headstart import store
from headstart.advise.trying import _read_plan
from headstart.data import load_dataset
from headstart.data.arrays import dataset, image_set, read_dataset, write_dataset
from headstart.data.download import read_members
from headstart.data.folders.archive import unpacked
from headstart.data.folders.owner import claim
from headstart.data_quality.record import Health, Pairs, Suspects, write_health
from headstart.errors import DataError, StoreError
from headstart.evaluation.corruptions import CORRUPTIONS
from headstart.evaluation.records import (
    read_arrays,
    read_corrupted,
    read_gradcam,
    read_shifted,
    robust_accuracy,
)
from headstart.evaluation.shift_sets import load_shift_set
from headstart.models import int8
from headstart.models.feature_cache import resumable
from headstart.models.features import cached_values
from headstart.models.weights import load_state_file
from headstart.predict.files import read_squares
from headstart.predict.predictor import load_predictor
from headstart.predict.saved import read_model
from headstart.recipes import TrainingRecipe, load_recipes, recipe_named
from headstart.recipes.files import recipe_toml
from headstart.report.load import load_study
from headstart.report.sections import health, robustness, tuning
from headstart.report.sections.spending import spending
from headstart.results import honest
from headstart.results.table import results_table
from headstart.store import locks
from headstart.store.hashes import facts_of
from headstart.studies import study_file
from headstart.training.checkpoint import TrainingState, no_counts

GOLDEN = Path(__file__).parents[1] / "golden"
RECIPE = TrainingRecipe(
    duration="3 epochs", batch_size=4, learning_rate=0.1, optimizer="adamw", ema_decay=0.5
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """path: of the file; find: where it lies now, for one whose place may change. read: what its users call.

    checked: whether the file carries a checksum, so that nothing but the same may be read. beside: a manifest
    that names it and is written anew where somebody who knows the format changes it."""

    path: Path
    read: Callable[[], object]
    checked: bool = False
    beside: Path | None = None
    find: Callable[[], Path] | None = None

    @property
    def place(self) -> Path:
        return self.path if self.find is None else self.find()


def write_all(folder: Path) -> dict[str, Kind]:
    """Writes one file of every kind; HEADSTART_CACHE must be folder/cache."""
    kinds: dict[str, Kind] = {}
    for part in (_study, _models, _cache, _own, _settings):
        kinds |= part(folder)
    for name, kind in kinds.items():
        assert kind.path.is_file(), name
    return kinds


def _study(folder: Path) -> dict[str, Kind]:
    study = write_synthetic_study(folder / "study", test_images=40, gallery=True)
    first, second = store.finished_trials(study)
    _write_readings(study, [first.key, second.key], [first.arm.name, second.arm.name])

    def read() -> object:
        view = load_study(study)
        spending(view)
        for each in read_corrupted(study):
            robust_accuracy(each)
        read_arrays(study / "robustness" / "sheet.npz")
        robustness.shifts(view)
        health.section(view)
        tuning.effort(view)
        read_shifted(study)
        read_gradcam(study)
        results_table(study)
        return [
            (t.key, dict(t.metrics), t.history, t.cost, store.read_predictions(t.folder)) for t in view.trials
        ]

    run = first.folder
    kinds = {
        name: Kind(path=run / name, read=read, checked=True, beside=run / "manifest.json")
        for name in ("result.json", "history.jsonl", "trial.json", "predictions.npz")
    }
    kinds |= {"manifest.json": Kind(path=run / "manifest.json", read=read)}
    kinds |= {
        name: Kind(path=study / name, read=read, checked=True)
        for name in (
            "study.json",
            "health.json",
            "tuning/cnn/tuning.json",
            f"robustness/{first.key}.json",
            f"shift/other/{first.key}.json",
        )
    }
    kinds |= {
        name: Kind(path=study / name, read=read)
        for name in (
            "gallery.npz",
            "health.npz",
            f"robustness/{first.key}.npz",
            "robustness/sheet.npz",
            f"shift/other/{first.key}.npz",
            f"looks/{first.key}.npz",
            "looks/images.npz",
        )
    }
    return {name.replace(first.key, "KEY"): kind for name, kind in kinds.items()}


def _write_readings(study: Path, keys: list[str], arms: list[str]) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(4)
    for key, arm in zip(keys, arms, strict=True):
        arrays: dict[str, Any] = {
            "settings": np.array("ab"),
            "ids": np.arange(4),
            "labels": labels,
            "seconds": np.zeros(2),
            "clean": rng.normal(size=(4, 10)).astype(np.float32),
        }
        arrays |= {name: rng.normal(size=(5, 4, 10)).astype(np.float32) for name in CORRUPTIONS}
        store.write_npz(study / "robustness" / f"{key}.npz", arrays)
        about = {"key": key, "arm": arm, "trial_seed": 0, "seconds": {"corrupt": 1.0, "predict": 2.0}}
        settings = {"images": 4, "seed": 0, "corruptions": 1, "test_fingerprint": "f", "constants": {}}
        store.write_sealed(study / "robustness" / f"{key}.json", about | {"settings": settings})
        logits = rng.normal(size=(4, 10)).astype(np.float32)
        store.write_npz(study / "shift" / "other" / f"{key}.npz", {"logits": logits, "labels": labels})
        shifted = {"set": "other", "key": key, "arm": arm, "fingerprint": "f", "test_right": 30}
        store.write_sealed(
            study / "shift" / "other" / f"{key}.json", shifted | {"test_images": 40, "seconds": 1.5}
        )
        seen = {
            "settings": np.array("ab"),
            "ids": np.arange(4),
            "evidence": rng.random((4, 2, 2)).astype(np.float16),
            "probabilities": rng.random((4, 10)).astype(np.float16),
            "targets": labels,
        }
        store.write_npz(study / "looks" / f"{key}.npz", seen)
    pixels = rng.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    beside = {"settings": np.array("ab"), "ids": np.arange(4), "labels": labels, "seed": np.array(0)}
    store.write_npz(study / "looks" / "images.npz", beside | {"images": pixels})
    sheet = {"settings": np.array("ab"), "ids": np.arange(2), "clean": pixels[:2]}
    corrupted = rng.integers(0, 256, (15, 5, 2, 32, 32, 3)).astype(np.uint8)
    store.write_npz(study / "robustness" / "sheet.npz", sheet | {"corrupted": corrupted})
    store.write_sealed(study / "tuning" / "cnn" / "tuning.json", _search(arms[0]))
    write_health(study, _health(pixels))


def _search(arm: str) -> dict[str, Any]:
    tries = [
        {
            "number": n,
            "values": {"learning_rate": 0.1 * n},
            "accuracy": 0.5 + 0.1 * n,
            "nll": 1.0,
            "seconds": 1.0,
        }
        | {"failed": "", "train_images": 40, "validation_images": 10}
        for n in (1, 2)
    ]
    space = [{"name": "learning_rate", "low": 0.01, "high": 1.0, "log": True}]
    return {
        "question": "ab" * 32,
        "study": "study",
        "arm": arm,
        "labels_per_class": None,
        "tries_asked": 2,
        "proxy": {"duration": "1 epochs"},
        "space": space,
        "tries": tries,
        "best": 2,
        "full_length": {"own": 0.5, "found": 0.6, "seeds": 2},
    }


def _health(pixels: np.ndarray) -> Health:
    pairs = Pairs(
        places=np.array([[1, 50_003], [2, 3]]),
        labels=np.array([[1, 1], [2, 3]]),
        by=np.array([6, 4], np.uint8),
        distance=np.array([0, 9], np.uint8),
        similarity=np.array([0.99, 0.9], np.float32),
    )
    suspects = Suspects(
        ids=np.array([5]),
        given=np.array([1]),
        suggested=np.array([2]),
        given_probability=np.array([0.1], np.float32),
        suggested_probability=np.array([0.8], np.float32),
    )
    about = {
        "name": "cifar10",
        "title": "CIFAR-10",
        "fingerprint": "9f" * 32,
        "class_names": [f"class {place}" for place in range(10)],
        "train_images": 50_000,
        "test_images": 40,
    }
    settings = {
        "schema": 1,
        "fingerprint": "9f" * 32,
        "max_distance": 12,
        "min_correlation": 0.9,
        "features": {"model": "resnet50", "weights": "w", "input_pixels": 64, "precision": "fp32"},
        "labels": {"folds": 5, "l2_values": [1.0, 0.1]},
        "alike": [[0.9, 0.65]],
    }
    images = {place: pixels[place % 4] for place in (1, 50_003, 2, 3, 5)}
    return Health(
        dataset=about, settings=settings, pairs=pairs, suspects=suspects, seconds=1.0, images=images
    )


def _models(folder: Path) -> dict[str, Kind]:
    old = next(path for path in sorted((GOLDEN / "run").iterdir()) if path.is_dir() and _is_cnn(path))
    model = folder / "model"
    read_model(old).write(model, read_model(old).read_state())
    image = np.load(GOLDEN / "images.npy")[:1]
    checkpoint = folder / "checkpoint.safetensors"
    state = TrainingState(step_of(RECIPE).network, RECIPE)
    state.write(checkpoint, no_counts(9, 1.0))

    def restore() -> object:
        step = step_of(RECIPE)
        counts = TrainingState(step.network, RECIPE).restore(checkpoint)
        return vars(counts), {name: value.numpy() for name, value in step.network.state_dict().items()}

    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}
    save_file(tensors, folder / "weights.safetensors", {"headstart": "{}"})
    torch.save(tensors, folder / "weights.pth")
    return {
        "model.safetensors": Kind(
            path=model / "model.safetensors",
            read=lambda: load_predictor(model).logits(image),
            checked=True,
        ),
        "checkpoint.safetensors": Kind(path=checkpoint, read=restore, checked=True),
        "weights.safetensors": Kind(
            path=folder / "weights.safetensors",
            read=lambda: _tensors(load_state_file(folder / "weights.safetensors")),
        ),
        "weights.pth": Kind(
            path=folder / "weights.pth", read=lambda: _tensors(load_state_file(folder / "weights.pth"))
        ),
    }


def _is_cnn(folder: Path) -> bool:
    return read_model(folder).method == "scratch"


def _tensors(state: dict[str, torch.Tensor]) -> object:
    return {name: value.float().numpy() for name, value in state.items()}


def _cache(folder: Path) -> dict[str, Kind]:
    rng = np.random.default_rng(1)
    key = "ab" * 32
    features = store.cache_folder() / "features" / key[:32]
    features.mkdir(parents=True)
    values = rng.normal(size=(20, 8)).astype(np.float16)
    (features / "values.f16").write_bytes(values.tobytes())
    meta = {"key": {}, "shape": [8], "seconds": 1.0, "flops": 10, "joules": None}
    store.write_json(features / "meta.json", meta | {"values": _facts(features / "values.f16")})
    record = features / "progress.json"
    begun = hashlib.sha256(values[:10].tobytes()).hexdigest()
    store.write_json(record, {"rows": 10, "seconds": 1.0, "sha256": begun})

    def resumed() -> object:
        found = resumable(record, features / "values.f16", 16)
        return None if found is None else (found[0], found[1], found[2].hexdigest())

    network = store.cache_folder() / "int8" / "cd" / "model.onnx"
    network.parent.mkdir(parents=True)
    network.write_bytes(_onnx())
    about = network.with_name("meta.json")
    store.write_json(about, {"key": {}, "seconds": 1.0, "model": _facts(network)})
    inputs = torch.ones(1, 3)
    decoded = folder / "decoded"
    images, labels = rng.integers(0, 256, (6, 4, 4, 3)).astype(np.uint8), np.array([0, 1, 0, 1, 0, 1])
    train, test = (image_set(images[:4], labels[:4], "ab"), image_set(images[4:], labels[4:], "ab"))
    write_dataset(decoded, dataset("tiny", "tiny", "made", train, test))

    def read_decoded() -> object:
        stored = read_dataset(decoded)
        return [stored.fingerprint, stored.title, np.asarray(stored.train.images), stored.train.labels]

    kinds = {
        "features, meta.json": Kind(
            path=features / "meta.json", read=lambda: _or_nothing(cached_values(key))
        ),
        "features, values.f16": Kind(
            path=features / "values.f16", read=lambda: _or_nothing(cached_values(key)), checked=True
        ),
        "features, progress.json": Kind(path=record, read=resumed),
        "int8, model.onnx": Kind(path=network, read=lambda: int8._session(network)(inputs).numpy()),
        "int8, meta.json": Kind(path=about, read=lambda: int8._whole(network, about)),
        "decoded, meta.json": Kind(path=decoded / "meta.json", read=read_decoded),
    }
    for part in ("train_images", "train_labels", "test_images"):
        kinds[f"decoded, {part}.npy"] = Kind(path=decoded / f"{part}.npy", read=read_decoded, checked=True)
    return kinds


def _or_nothing(value: object) -> object:
    """Raises: StoreError for None, which means that it is computed again."""
    if value is None:
        raise StoreError("computed again")
    return value


def _facts(path: Path) -> dict[str, Any]:
    return facts_of(path).model_dump()


def _onnx() -> bytes:
    """x (N, 3) -> x W, by onnx itself."""
    import onnx

    weight = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    node = onnx.helper.make_node("MatMul", ["images", "w"], ["features"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [value("images", onnx.TensorProto.FLOAT, ["n", 3])],
        [value("features", onnx.TensorProto.FLOAT, ["n", 2])],
        [weight],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def _own(folder: Path) -> dict[str, Kind]:
    photos = folder / "photos"
    rng = np.random.default_rng(2)
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(photos / name / f"{number}.png")
    before = load_dataset(photos).fingerprint

    def read_photos() -> object:
        found = load_dataset(photos)
        assert found.fingerprint == before, "other images from the same files"
        return found.fingerprint

    places = {
        "decoded folder": (
            "pictures/*/*",
            ("meta.json", "facts.jsonl", "squares.u8", "small.u8", "near.npz"),
        ),
        "folder's dataset": (
            "datasets/folders/*/*",
            ("meta.json", "reading.json", "train_groups.npy", "train_places.npy"),
        ),
    }
    kinds = {}
    for kind, (where, names) in places.items():
        for name in names:

            def find(pattern: str = f"{where}/{name}") -> Path:
                cache = store.cache_folder()
                if not list(cache.glob(pattern)):  # made with a dataset alone, which an earlier damage kept
                    shutil.rmtree(cache / "datasets")
                    load_dataset(photos)
                return next(cache.glob(pattern))

            kinds[f"{kind}, {name}"] = Kind(path=find(), find=find, read=read_photos)
    table = folder / "labels.csv"
    lines = ["path,label", *(f"photos/{n}/{i}.png,{n}" for n in ("cat", "dog") for i in range(4))]
    table.write_text("\n".join(lines) + "\n")
    archive = folder / "photos.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        for path in sorted(photos.rglob("*.png")):
            content.write(path, path.relative_to(folder))
    kinds["table.csv"] = Kind(path=table, read=lambda: load_dataset(table).fingerprint)
    kinds["images.zip"] = Kind(path=archive, read=lambda: str(unpacked(archive).name))
    shift = folder / "shift"
    shift.mkdir()
    np.save(shift / "x_data.npy", rng.integers(0, 256, (4, 8, 8, 3)).astype(np.uint8))
    np.save(shift / "x_labels.npy", np.array([0, 1, 0, 1]))
    for name in ("x_data.npy", "x_labels.npy"):
        kinds[f"shift set, {name}"] = Kind(
            path=shift / name, read=lambda: load_shift_set(shift, ["a", "b"], 8).fingerprint
        )
    for suffix, options in {"png": {}, "jpg": {}, "webp": {}, "tif": {}, "gif": {}, "bmp": {}}.items():
        picture = folder / f"picture.{suffix}"
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(picture, **options)
        kinds[f"picture.{suffix}"] = Kind(
            path=picture, read=lambda p=picture: read_squares([p], 32, _unreadable)
        )
    return kinds


def _unreadable(path: Path, error: DataError) -> None:
    raise error


def _settings(folder: Path) -> dict[str, Kind]:
    out = folder / "out"
    claim(out, folder / "photos", "advise")
    plan = folder / "plan" / "plan.json"
    data = load_dataset(folder / "photos")
    rungs = [{"name": "probe", "label": "Probe", "method": "linear_probe", "pixels": 64, "duration": ""}]
    plan_value = {"fingerprint": data.fingerprint, "balance": False, "spent_seconds": 3.0, "rungs": rungs}
    store.write_json(plan, plan_value)
    threads = store.cache_folder() / "threads.json"
    store.write_json(threads, {"count": 2, "seconds": {"1": 0.5, "2": 0.3}, "processor": "x", "cores": 2})
    study = folder / "own.toml"
    photos = f'dataset = "{folder / "photos"}"'
    study.write_text((GOLDEN / "study.toml").read_text().replace('dataset = "photos"', photos))
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe_toml("mine", recipe_named("cnn-fast"), {"study": "s"}))
    options = folder / "images.toml"
    options.write_text(f'path = "{folder / "photos"}"\nimage_pixels = 32\nbad_files = "skip"\n')
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in (("package/a.json", b"[1]"), ("package/b.bin", bytes(3000))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    holder = folder / ".lock.holder"
    holder.write_text("process 1 on host")
    memory = store.cache_folder() / "honest-trials.txt"
    memory.write_text(f"{'ab' * 32} {'cd' * 32}\n")

    def remembered() -> object:
        honest._remembered.cache_clear()
        return honest._remembered()

    return {
        "belongs-to.json": Kind(
            path=out / "belongs-to.json", read=lambda: claim(out, folder / "photos", "x")
        ),
        "plan.json": Kind(path=plan, read=lambda: _read_plan(plan.parent, data, False)),
        "threads.json": Kind(path=threads, read=store.last_measured),
        "study.toml": Kind(path=study, read=lambda: study_file.load_study(study)),
        "recipe.toml": Kind(path=recipe, read=lambda: load_recipes(recipe)),
        "images.toml": Kind(path=options, read=lambda: load_dataset(options).fingerprint),
        "package.tgz": Kind(
            path=archive, read=lambda: list(read_members(archive, ["package/a.json", "package/b.bin"]))
        ),
        "a lock's holder": Kind(path=holder, read=lambda: locks._holder(folder / "lock")),
        "honest-trials.txt": Kind(path=memory, read=remembered),
    }


def as_text(value: object) -> str:
    """A digest of what a reader returned: equal values, equal digests."""
    content = hashlib.sha256()
    for part in _parts(value):
        content.update(part)
    return content.hexdigest()


def _parts(value: object) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield str((value.dtype, value.shape)).encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, dict):
        for name, part in value.items():
            yield str(name).encode()
            yield from _parts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _parts(getattr(value, name))
    else:
        yield repr(value).encode(errors="replace")
