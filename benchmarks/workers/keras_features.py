"""Peer: Keras's ResNet50 `predict` with its own preprocessing, behind a tf.data pipeline that resizes; random
weights."""

from __future__ import annotations

import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from protocol import Run, serve

_BATCH = 64  # as ours


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    if config["precision"] == "bf16":
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    pixels = config["pixels"]
    (count,) = config["counts"]
    images = np.load(config["images_file"], mmap_mode="r")[:count]
    # Weights do not change the speed; without them nothing is downloaded.
    model = keras.applications.ResNet50(
        weights=None, include_top=False, pooling="avg", input_shape=(pixels, pixels, 3)
    )

    def bring_to_size(batch: tf.Tensor) -> tf.Tensor:
        resized = tf.image.resize(batch, (pixels, pixels), method="bicubic")
        return keras.applications.resnet50.preprocess_input(resized)

    def seconds(images: np.ndarray) -> float:
        data = tf.data.Dataset.from_tensor_slices(images).batch(_BATCH)
        data = data.map(bring_to_size, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        start = time.perf_counter()
        values = model.predict(data, verbose=0)
        took = time.perf_counter() - start
        if values.shape != (len(images), 2048) or not np.isfinite(values).all():
            raise ArithmeticError(f"features are {values.shape} or not finite")
        return took

    seconds(images[: 2 * _BATCH])

    def run() -> dict[str, float]:
        return {"images": count, "seconds": seconds(images)}

    return run, {"tensorflow": tf.__version__, "keras": keras.__version__}


if __name__ == "__main__":
    serve(prepare)
