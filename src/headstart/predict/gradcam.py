"""Grad-CAM: a heatmap of the network's last block over an image, beside the image and the likeliest classes.

Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
localization", by captum's LayerGradCam; captum keeps negative values, which are cut off here as in the paper.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart import store
from headstart.data.folders.decode import decode_image, square
from headstart.errors import ConfigError, unknown_name
from headstart.models.network import Network
from headstart.models.preprocessing import preprocess
from headstart.plots.fonts import drawable, families_for
from headstart.plots.style import HEAT, INK, MUTED, styled
from headstart.predict.predictor import Predictor
from headstart.results import metrics

_DRAWN_PIXELS = 448  # side of the image in the drawing
_DRAWN_CLASSES = 5
_DRAWN_TITLES = {
    "crop": "The image, cut square",
    "pad": "The whole image on grey",
    "squash": "The whole image, squashed",
}
_OTHER_CLASSES = "#b8bdc6"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The Grad-CAM of one image.

    image: uint8 (S, S, 3), before the network's own resizing.
    heatmap: float32 (H, W) in 0..1, a value for each position of the last block, 1 the strongest (all 0 where
    nothing speaks for the class).
    probabilities: float32 (C,). target: the class that the heatmap is about."""

    image: NDArray[np.uint8]
    heatmap: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    target: int


def explain_image(
    predictor: Predictor,
    image: NDArray[np.uint8],
    class_name: str | None = None,
    network: Network | None = None,
) -> Explanation:
    """The Grad-CAM of a class (None: the likeliest) in one image, computed in float32.

    image: uint8 (image_pixels, image_pixels, 3). network: the predictor's own, to build it once for many
    images.
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
    inputs = preprocess(image[None], network.preprocessing)
    with torch.no_grad():
        probabilities = metrics.probabilities(network(inputs).numpy())[0].astype(np.float32)
    target = int(probabilities.argmax()) if class_name is None else names.index(class_name)
    gradcam = LayerGradCam(network, network.last_block())
    attribution = gradcam.attribute(inputs, target=target, relu_attributions=True)
    heatmap = attribution.detach()[0, 0].numpy().astype(np.float32)
    strongest = max(float(heatmap.max()), 1e-12)  # nothing may speak for a class
    return Explanation(image=image, heatmap=heatmap / strongest, probabilities=probabilities, target=target)


def write_explanation(
    predictor: Predictor, image: str | Path, out: Path, class_name: str | None = None
) -> Explanation:
    """Explain an image file, and write a PNG of the image, the heatmap over it, and the likeliest classes.

    Raises: DataError where the image cannot be read; StoreError; as `explain_image`."""
    decoded = decode_image(image, reading=predictor.saved.reading)
    explanation, content = draw_explanation(predictor, decoded, class_name)
    store.write_bytes(out, content)
    return explanation


def draw_explanation(
    predictor: Predictor,
    decoded: NDArray[np.uint8],
    class_name: str | None = None,
    network: Network | None = None,
) -> tuple[Explanation, bytes]:
    """Explain a decoded image uint8 (H, W, 3): the explanation, and a PNG of the image, the heatmap over it,
    and the likeliest classes.

    Arguments and errors: as `explain_image`."""
    reading = predictor.saved.reading
    seen = square(decoded, predictor.image_pixels, reading.fit)
    explanation = explain_image(predictor, seen, class_name, network)
    side = min(_DRAWN_PIXELS, max(min(decoded.shape[:2]), predictor.image_pixels))
    drawn = square(decoded, side, reading.fit)
    families = families_for(predictor.class_names)
    names = [drawable(name, families) for name in predictor.class_names]
    with mpl.rc_context({"font.family": families}):
        return explanation, _png(_figure(explanation, drawn, predictor, names))


def upsampled(heatmap: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """The heatmap resized to float32 (pixels, pixels), bilinear."""
    grid = torch.from_numpy(heatmap)[None, None]
    resized = torch.nn.functional.interpolate(
        grid, size=(pixels, pixels), mode="bilinear", align_corners=False
    )
    return np.asarray(resized[0, 0])


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=144, facecolor="white", metadata={"Software": "headstart"})
    return content.getvalue()


@styled
def _figure(
    explanation: Explanation, drawn: NDArray[np.uint8], predictor: Predictor, names: Sequence[str]
) -> Figure:
    figure = Figure(figsize=(12.6, 4.6), layout="constrained")
    plain, overlay, classes = figure.subplots(1, 3, width_ratios=(1, 1, 0.95))
    heat = upsampled(explanation.heatmap, len(drawn))
    for axes, title in (
        (plain, _DRAWN_TITLES[predictor.saved.reading.fit]),
        (overlay, f"Evidence for “{names[explanation.target]}”"),
    ):
        axes.imshow(drawn, interpolation="nearest" if len(drawn) < 128 else "antialiased")
        axes.set_title(title)
        axes.set_axis_off()
    overlay.imshow(heat, cmap="inferno", alpha=0.15 + 0.55 * heat, vmin=0, vmax=1)
    rows, columns = explanation.heatmap.shape
    size = f"{predictor.image_pixels} x {predictor.image_pixels}"
    if predictor.saved.input_pixels != predictor.image_pixels:
        size += f" pixels, resized to {predictor.saved.input_pixels} x {predictor.saved.input_pixels}"
    figure.supxlabel(
        f"The network saw {size} pixels. Grad-CAM of its last block: {rows} x {columns} positions, smoothed "
        "between them.",
        fontsize=11,
        color=MUTED,
        x=0.01,
        ha="left",
    )
    _draw_classes(classes, explanation, names)
    return figure


def _draw_classes(axes: Axes, explanation: Explanation, names: Sequence[str]) -> None:
    """Draw the likeliest classes as bars, the heatmap's own among them."""
    probabilities = explanation.probabilities
    best = np.argsort(-probabilities, kind="stable")[:_DRAWN_CLASSES]
    if explanation.target not in best:
        best = np.append(best[:-1], explanation.target)
    places = np.arange(len(best))[::-1]
    colors = [HEAT if label == explanation.target else _OTHER_CLASSES for label in best]
    axes.barh(places, probabilities[best], color=colors, height=0.6)
    axes.set_yticks(places, [names[label] for label in best], color=INK)
    for place, label in zip(places, best, strict=True):
        axes.annotate(
            f"{100 * probabilities[label]:.1f} %",
            (probabilities[label], place),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlim(0, 1.22)
    axes.set_xticks([])
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Likeliest classes")
