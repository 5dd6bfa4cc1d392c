"""Export a trained model as one file for other programs: ONNX or TorchScript, with the preprocessing inside
and a model card beside it.

The graph takes uint8 RGB images (N, S, S, 3), S being the side of the model's training images, any N, and
gives class probabilities float32 (N, C). Resizing to the network's own input is inside: two products of
integers, which agree bit for bit with the resizing of training. Bringing an image to S x S stays outside:
that is Pillow's, for images of any size.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart import store
from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError, HeadstartError, StoreError, unknown_name
from headstart.methods import method_spec
from headstart.models.inference import predict_logits
from headstart.models.network import Network
from headstart.models.preprocessing import preprocess
from headstart.models.saved import SavedModel
from headstart.predict import modelcard
from headstart.predict.files import find_images, read_squares
from headstart.predict.predictor import Predictor
from headstart.results import metrics
from headstart.runtime.waiting import onnxruntime_options
from headstart.store.remedies import STUDY
from headstart.version import __version__

CHECK_IMAGES = 100
TOLERANCE = 1e-4  # largest difference of a probability that is let through
_BATCH = 32  # 100 images make batches of 32 and of 4: the file is checked with both

Images = NDArray[np.uint8]
Predict = Callable[[Images], NDArray[np.float32]]  # images (N, S, S, 3) -> probabilities (N, C)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format: how a network becomes a file's content, and how that is opened as a function.

    build: from (network, example input, metadata)."""

    build: Callable[[nn.Module, Tensor, dict[str, str]], bytes]
    open: Callable[[bytes], Predict]
    suffix: str


class Exportable(nn.Module):
    """A network with its preprocessing and softmax: images uint8 (N, S, S, 3) -> probabilities float32
    (N, C)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = network.preprocessing

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(preprocess(images, self.preprocessing, by_products=True))
        return torch.softmax(logits, dim=1)


class _Checked(nn.Module):
    """A traced model that refuses what it was not made for: tracing keeps no checks."""

    def __init__(self, traced: nn.Module, size: int) -> None:
        super().__init__()
        self.traced = traced
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        good = images.dtype == torch.uint8 and images.dim() == 4 and images.size(1) == self.size
        if not good or images.size(2) != self.size or images.size(3) != 3:
            raise ValueError(f"this model takes uint8 images (N, {self.size}, {self.size}, 3)")
        result: Tensor = self.traced(images)
        return result


def export_model(
    predictor: Predictor,
    format: str = "onnx",
    out: str | Path | None = None,
    images: str | Path | None = None,
) -> modelcard.Exported:
    """Write the model and its card; nothing is written unless the file predicts as PyTorch does in float32.

    format: "onnx" or "torchscript". out: default model.onnx or model.pt in the model's own folder; the card
    has the same name and .md. images: a folder of images to compare on; None: training images of the model's
    dataset, else the study's gallery.
    Raises: ConfigError for an unknown format, a kNN model, or where onnx, onnxscript or onnxruntime are
    missing; DataError where there is no image to compare on; StoreError where the file would predict
    otherwise or cannot be written."""
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    chosen = FORMATS[format]
    network = predictor.network()
    saved = predictor.saved
    if out is None and saved.folder is None:
        raise ConfigError("this model lies in no folder; say where to write it with out")
    path = Path(out) if out is not None else (saved.folder or Path()) / f"model{chosen.suffix}"
    compared, source = images_to_compare(saved, images)
    content = chosen.build(Exportable(network), example(saved), metadata(saved))
    exported = _in_batches(chosen.open(content), compared)
    expected = metrics.probabilities(
        predict_logits(network, compared, device=torch.device("cpu"), precision="fp32")
    ).astype(np.float32)
    difference = float(np.abs(exported - expected).max())
    if not difference <= TOLERANCE:  # NaN too
        raise StoreError(
            f"the {format} file's probabilities differ from PyTorch's by up to {difference:.2g}, more than "
            f"{TOLERANCE:g}, on {len(compared)} images; {path} was not written"
        )
    evaluated = predictor.probabilities(compared)
    frozen = method_spec(saved.method).frozen_backbone
    done = modelcard.Exported(
        path=path,
        card=_card_of(path, format),
        images=len(compared),
        source=source,
        difference=difference,
        precision=predictor.feature_precision if frozen else predictor.precision,
        stored_difference=float(np.abs(exported - evaluated).max()),
        same_predictions=int((exported.argmax(1) == evaluated.argmax(1)).sum()),
    )
    store.write_bytes(path, content)
    store.write_bytes(done.card, modelcard.model_card(saved, format, done).encode())
    return done


def _card_of(path: Path, format: str) -> Path:
    """The card beside the file: model.md beside model.onnx, model.pt.md beside model.pt, so that two formats
    of one model each keep theirs."""
    return path.with_suffix(".md") if format == "onnx" else Path(f"{path}.md")


def metadata(saved: SavedModel) -> dict[str, str]:
    """The exported file's metadata: labels, licences, size and meaning of its input."""
    return {
        "labels": json.dumps(list(saved.class_names), ensure_ascii=False),
        "licence": modelcard.licence(saved),
        "input": f"images: uint8 (N, {saved.image_pixels}, {saved.image_pixels}, 3), RGB",
        "output": "probabilities: float32 (N, C), in the order of the labels",
        "image_pixels": str(saved.image_pixels),
        "preprocessing": "inside",
        "model": saved.model,
        "method": saved.method,
        "made_by": f"headstart {__version__}",
        "training_images": saved.dataset.title or saved.dataset.name or "unknown",
    }


def images_to_compare(
    saved: SavedModel, folder: str | Path | None = None, count: int = CHECK_IMAGES
) -> tuple[Images, str]:
    """At most `count` real images uint8 (M, S, S, 3), and where they are from, in words.

    folder: of images; None: training images of the model's dataset, else the study's gallery.
    Raises: DataError where there is none."""
    if folder is not None:
        paths = find_images([folder]).images
        images = read_squares(paths[:count], saved.image_pixels, lambda path, error: None, saved.reading)[1]
        if not len(images):
            raise DataError(f"none of the images in {folder} could be read; give others with --images")
        return images, f"images in {folder}"
    name = saved.dataset.name
    try:
        train = load_dataset(name, image_pixels=saved.image_pixels).train if name else None
    except HeadstartError:
        train = None  # moved or offline: the gallery will do
    if train is not None and train.images.shape[1] == saved.image_pixels:
        ids = np.unique(np.linspace(0, len(train) - 1, count).astype(np.int64))
        return np.ascontiguousarray(train.images[ids]), f"training images of {saved.dataset.title or name}"
    gallery = saved.folder.parent / "gallery.npz" if saved.folder else None
    if gallery is not None and gallery.exists():
        images = store.read_npz(gallery, STUDY, ("images",))["images"]
        return images[:count], "test images in the study's gallery"
    raise DataError(
        "an exported file is compared with the model on real images, and its training images are not to be "
        "had; give some with --images FOLDER"
    )


def open_onnx(content: bytes | str | Path) -> Predict:
    """An exported ONNX file as a function of images uint8 (N, S, S, 3), by onnxruntime on the CPU.

    Raises: ConfigError where onnxruntime is not installed."""
    onnxruntime = _required("onnxruntime")
    options = onnxruntime_options(onnxruntime, torch.get_num_threads())
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(None, {"images": np.ascontiguousarray(images)})[0])


def open_torchscript(content: bytes | str | Path) -> Predict:
    """As `open_onnx`, for TorchScript."""
    with _exporters_own_warnings():
        model = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(content) if isinstance(content, bytes) else content
        )

    @torch.no_grad()
    def run(images: Images) -> NDArray[np.float32]:
        writeable = np.require(images, requirements=["C_CONTIGUOUS", "WRITEABLE"])
        return np.asarray(model(torch.from_numpy(writeable)))

    return run


def _build_onnx(model: nn.Module, example: Tensor, description: dict[str, str]) -> bytes:
    onnx = _required("onnx")
    _required("onnxscript"), _required("onnxruntime")
    with _exporters_own_warnings(), torch.no_grad():
        program = torch.onnx.export(
            model.eval(),
            (example,),
            input_names=["images"],
            output_names=["probabilities"],
            dynamo=True,
            verbose=False,
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, description)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def _build_torchscript(model: nn.Module, example: Tensor, description: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with _exporters_own_warnings(), torch.no_grad():
        traced = torch.jit.trace(model.eval(), (example,), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(
            torch.jit.script(_Checked(traced, example.shape[1])),
            content,
            _extra_files={f"{name}.txt": text for name, text in description.items()},
        )
    return content.getvalue()


@contextmanager
def _exporters_own_warnings() -> Iterator[None]:
    """Silence torch 2.13's exporters, which warn of parts of torch that they use themselves, and of shapes
    that are meant to be fixed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def example(saved: SavedModel) -> Tensor:
    """What an exporter follows through a model: black images uint8 (2, S, S, 3)."""
    # Two images: of 1 the exporter makes a constant.
    return torch.zeros(2, saved.image_pixels, saved.image_pixels, 3, dtype=torch.uint8)


def _in_batches(predict: Predict, images: Images) -> NDArray[np.float32]:
    return np.concatenate(
        [predict(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    )


def _required(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"exporting to ONNX needs {name}, which is not installed: pip install 'headstart[export]'"
        ) from error


FORMATS = {
    "onnx": Format(build=_build_onnx, open=open_onnx, suffix=".onnx"),
    "torchscript": Format(build=_build_torchscript, open=open_torchscript, suffix=".pt"),
}
