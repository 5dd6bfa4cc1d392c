"""How long things take here: features of a network at a size, training steps; measured once, then scaled."""

from __future__ import annotations

import time

import numpy as np

from headstart.advise.rung import Rung
from headstart.advise.timekeeper import Timekeeper
from headstart.models import load_model, resolve_weights
from headstart.models.features import FrozenLayers
from headstart.runtime.precision import default_device, resolve_feature_precision
from headstart.types import ImageSet

_REST_SECONDS = 6.0  # of one thread: for writing the final model and the page
_HEAD_ROW_SECONDS = 0.004  # of one thread: a head on a fold, its L2 chosen, an image
_REFIT_FACTOR = 1.3  # a head on all images, over one on four fifths
_FIRST_PIXELS = (96, 64)
_FIRST_SECONDS, _FIRST_SHARE = 15.0, 0.3  # at most, for the first features
_LARGER_PIXELS = (224, 192, 160, 128)
_LARGER_SHARE = 0.3  # of the time left: for features of larger images, or of another backbone
_BATCH = 64  # images of a training step
# Of a step, over the features of its images: all layers forward and backward; the last stage alone, a
# quarter.
_STEP_SHARE, _PARTIAL_STEP_SHARE = 3.0, 0.7
_PARTIAL_FROZEN_SHARE = 1.7  # of the frozen layers, both sides of an image, over the features of one


class Pace:
    """rates: by model, seconds of an image's features, a pixel. head: seconds of fitting a head on a fold."""

    def __init__(self, train: ImageSet, time_left: Timekeeper) -> None:
        self.train, self.time_left = train, time_left
        self.rates: dict[str, float] = {}
        self.head = 0.0

    @property
    def rest(self) -> float:
        """Seconds to keep for the final model and the page."""
        return _REST_SECONDS * self.time_left.slowness + _REFIT_FACTOR * self.head

    def left(self) -> float:
        """Seconds for what is tried; negative where there are none."""
        return self.time_left.left() - self.rest

    def note(self, rung: Rung, seconds: float) -> None:
        """Takes what the features of a frozen candidate took as the model's rate."""
        if seconds:
            self.rates[rung.model] = seconds / (len(self.train) * rung.pixels**2)

    def first_pixels(self, model: str, weights: str) -> int:
        """The largest first size whose features are there soon."""
        most = min(_FIRST_SECONDS, _FIRST_SHARE * 60 * self.time_left.minutes)
        return self._fitting(model, weights, _FIRST_PIXELS, most) or _FIRST_PIXELS[-1]

    def heads_seconds(self, folds: int) -> float:
        """A guess for the first head on so many folds and all images, before one was fitted."""
        return _HEAD_ROW_SECONDS * len(self.train) * (folds + _REFIT_FACTOR) * self.time_left.slowness

    def larger_pixels(self, model: str, weights: str, folds: int) -> int | None:
        """The largest size whose features take a share of the time left, heads on so many folds apart; None
        where none does."""
        most = min(_LARGER_SHARE * self.left(), self.left() - folds * self.head)
        return self._fitting(model, weights, _LARGER_PIXELS, most)

    def training_seconds(self, rung: Rung, steps: int) -> float:
        """An estimate for a pretrained network that learns for so many steps, its frozen layers included."""
        image = self.rates.get(rung.model, 0.0) * rung.pixels**2
        if rung.method != "partial":
            features = len(self.train) if rung.method == "lp_ft" else 0  # of its first head, at this size
            return image * (_STEP_SHARE * _BATCH * steps + features)
        return image * (_PARTIAL_STEP_SHARE * _BATCH * steps + _PARTIAL_FROZEN_SHARE * len(self.train))

    def _fitting(self, model: str, weights: str, sizes: tuple[int, ...], seconds: float) -> int | None:
        if seconds <= 0:
            return None
        image = (self.rates.get(model) or self._measured(model, weights)) * len(self.train)
        return next((side for side in sizes if image * side**2 <= seconds), None)

    def _measured(self, model: str, weights: str) -> float:
        """Of one small batch, after one to warm up."""
        side, device = _FIRST_PIXELS[-1], default_device()
        layers = FrozenLayers(
            network=load_model(model, resolve_weights(model, weights), image_pixels=side),
            precision=resolve_feature_precision("auto", device),
            device=device,
            calibration=self.train,
        )
        rows, images = layers.row_function(), np.array(self.train.images[:16])
        rows(images[:4])
        began = time.perf_counter()
        rows(images)
        self.rates[model] = (time.perf_counter() - began) / (len(images) * side**2)
        return self.rates[model]
