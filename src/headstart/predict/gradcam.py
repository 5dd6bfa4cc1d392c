"""Where a network looked: Grad-CAM of its last block over the picture, beside the picture and the classes it
thought of.

Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
localization", by captum's LayerGradCam; captum leaves negative evidence in, which is cut off here as in the
paper.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart import store
from headstart.data.folders.decode import decode_image, square
from headstart.errors import ConfigError, unknown_name
from headstart.models.preprocess import preprocess, preprocessing_carried_by
from headstart.plots.style import HEAT, INK, MUTED, styled
from headstart.predict.predictor import Predictor
from headstart.results import metrics

_SHOWN_PIXELS = 448  # side of the picture as it is shown
_SHOWN_CLASSES = 5
_OTHERS = "#b8bdc6"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One picture explained. seen: uint8 (S, S, 3), what the network was given (before its own resizing).

    evidence: float32 (H, W) in 0..1, of the last block's positions, 1 the strongest (all 0 where nothing
    speaks for the class).
    probabilities: float32 (C,). target: the class whose evidence it is."""

    seen: NDArray[np.uint8]
    evidence: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    target: int


def explain_pixels(
    predictor: Predictor,
    pixels: NDArray[np.uint8],
    class_name: str | None = None,
    network: nn.Module | None = None,
) -> Explanation:
    """The evidence for a class (None: the likeliest) in one image uint8 (image_pixels, image_pixels, 3), in
    float32.

    network: the predictor's own, built once for many images.
    Raises: ConfigError for an unknown class, a kNN model, or where captum is not installed."""
    try:
        from captum.attr import LayerGradCam
    except ImportError as error:
        raise ConfigError(
            "explanations need captum, which is not installed: pip install 'headstart[explain]'"
        ) from error
    names = predictor.class_names
    if class_name is not None and class_name not in names:
        raise unknown_name("class", class_name, names)
    network = (predictor.network() if network is None else network).requires_grad_(True)
    inputs = preprocess(pixels[None], preprocessing_carried_by(network))
    with torch.no_grad():
        probabilities = metrics.probabilities(network(inputs).numpy())[0].astype(np.float32)
    target = int(probabilities.argmax()) if class_name is None else names.index(class_name)
    found = LayerGradCam(network, last_block(network)).attribute(
        inputs, target=target, relu_attributions=True
    )
    evidence = found.detach()[0, 0].numpy().astype(np.float32)
    strongest = max(float(evidence.max()), 1e-12)  # nothing may speak for a class
    return Explanation(seen=pixels, evidence=evidence / strongest, probabilities=probabilities, target=target)


def last_block(network: nn.Module) -> nn.Module:
    """The part whose output (N, C, H, W) is pooled into features: its positions still know where they are in
    the picture."""
    if hasattr(network, "units"):
        *_, (_, block), _ = network.units()  # type: ignore[operator]
        return block
    if not hasattr(network, "blocks"):
        raise ConfigError(
            "pictures are explained for the CNN and this project's ResNets, not for other networks"
        )
    return network.blocks[-1]  # type: ignore[index, return-value]


def write_explanation(
    predictor: Predictor, image: str | Path, out: Path, class_name: str | None = None
) -> Explanation:
    """Explains a picture file and writes it, the evidence over it, and the likeliest classes side by side as
    PNG.

    Raises: DataError where the picture cannot be read; StoreError; as explain_pixels."""
    decoded = decode_image(image)
    explanation = explain_pixels(predictor, square(decoded, predictor.image_pixels), class_name)
    shown = square(decoded, min(_SHOWN_PIXELS, max(min(decoded.shape[:2]), predictor.image_pixels)))
    store.write_bytes(out, _draw(explanation, shown, predictor))
    return explanation


def upsampled(evidence: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """The evidence at (pixels, pixels), bilinear: what lies between two positions is a mixture of both."""
    grid = torch.from_numpy(evidence)[None, None]
    return torch.nn.functional.interpolate(grid, size=(pixels, pixels), mode="bilinear", align_corners=False)[
        0, 0
    ].numpy()


def _draw(explanation: Explanation, shown: NDArray[np.uint8], predictor: Predictor) -> bytes:
    figure = _figure(explanation, shown, predictor)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=144, facecolor="white", metadata={"Software": "headstart"})
    return content.getvalue()


@styled
def _figure(explanation: Explanation, shown: NDArray[np.uint8], predictor: Predictor) -> Any:
    from matplotlib.figure import Figure

    names, probabilities = predictor.class_names, explanation.probabilities
    figure = Figure(figsize=(12.6, 4.6), layout="constrained")
    picture, overlay, classes = figure.subplots(1, 3, width_ratios=(1, 1, 0.95))
    heat = upsampled(explanation.evidence, len(shown))
    for axes, title in (
        (picture, "The picture, cut square"),
        (overlay, f"Evidence for “{names[explanation.target]}”"),
    ):
        axes.imshow(shown, interpolation="nearest" if len(shown) < 128 else "antialiased")
        axes.set_title(title)
        axes.set_axis_off()
    overlay.imshow(heat, cmap="inferno", alpha=0.15 + 0.55 * heat, vmin=0, vmax=1)
    rows, columns = explanation.evidence.shape
    saw = f"{predictor.image_pixels} x {predictor.image_pixels}"
    if predictor.saved.input_pixels != predictor.image_pixels:
        saw += f" pixels, resized to {predictor.saved.input_pixels} x {predictor.saved.input_pixels}"
    figure.supxlabel(
        f"The network saw {saw} pixels. Grad-CAM of its last block: {rows} x {columns} positions, smoothed "
        "between "
        "them.",
        fontsize=11,
        color=MUTED,
        x=0.01,
        ha="left",
    )
    best = np.argsort(-probabilities, kind="stable")[:_SHOWN_CLASSES]
    if explanation.target not in best:
        best = np.append(best[:-1], explanation.target)
    places = np.arange(len(best))[::-1]
    colours = [HEAT if label == explanation.target else _OTHERS for label in best]
    classes.barh(places, probabilities[best], color=colours, height=0.6)
    classes.set_yticks(places, [names[label] for label in best], color=INK)
    for place, label in zip(places, best, strict=True):
        classes.annotate(
            f"{100 * probabilities[label]:.1f} %",
            (probabilities[label], place),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    classes.set_xlim(0, 1.22)
    classes.set_xticks([])
    classes.grid(False)
    classes.spines["bottom"].set_visible(False)
    classes.set_title("Likeliest classes")
    return figure
