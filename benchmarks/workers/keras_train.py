"""Peer (b): Keras on tensorflow-cpu, the same layers, model.fit on a tf.data pipeline; float32 or
mixed_bfloat16."""

from __future__ import annotations

import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from protocol import Run, serve

_WARM_STEPS = 4  # compiles on the first; then the pipeline runs steadily
_MEAN = np.array((0.4914, 0.4822, 0.4465), np.float32) * 255
_STD = np.array((0.2470, 0.2435, 0.2616), np.float32) * 255


class Bias(layers.Layer):
    """Adds a learned bias a channel: the first layer's filters are fixed, its bias is not."""

    def build(self, shape: tuple) -> None:
        self.bias = self.add_weight(shape=(shape[-1],), initializer="zeros")

    def call(self, x: Any) -> Any:
        return x + self.bias


def build_cnn(widths: tuple[int, int, int]) -> keras.Model:
    """headstart.models.cnn.CNN in Keras's layers: uint8-range input (32, 32, 3) already normalised -> 10
    logits."""
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(24, 2, use_bias=False, trainable=False)(x)
    x = layers.ReLU()(Bias()(x))
    for width in widths:
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.6, epsilon=1e-5, scale=False)(x))
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.6, epsilon=1e-5, scale=False)(x))
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Dense(10, use_bias=False)(x)
    return keras.Model(inputs, layers.Activation("linear", dtype="float32")(x))


def pipeline(images: np.ndarray, labels: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """The usual one: shuffle, augment image by image in parallel, batch, prefetch; without end."""

    def augment(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = (tf.cast(image, tf.float32) - _MEAN) / _STD
        image = tf.image.resize_with_crop_or_pad(image, 40, 40)
        image = tf.image.random_crop(image, (32, 32, 3))
        return tf.image.random_flip_left_right(image), label

    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10_000).repeat()
    return data.map(augment, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(tf.data.AUTOTUNE)


class Clock(keras.callbacks.Callback):
    """Wall seconds of the steps after the first `warm_steps` ones."""

    def __init__(self, warm_steps: int) -> None:
        super().__init__()
        self.warm_steps, self.start, self.seconds = warm_steps, 0.0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch == self.warm_steps - 1:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    keras.utils.set_random_seed(0)
    if config["precision"] == "bf16":
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    data = pipeline(np.load(config["images_file"]), np.load(config["labels_file"]), config["batch_size"])

    def compiled(jit: bool) -> keras.Model:
        model = build_cnn(tuple(config["widths"]))
        model.compile(
            optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
            metrics=["accuracy"],
            jit_compile=jit,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model

    def seconds(model: keras.Model, steps: int) -> float:
        clock = Clock(_WARM_STEPS)
        fitted = model.fit(data, steps_per_epoch=_WARM_STEPS + steps, epochs=1, verbose=0, callbacks=[clock])
        if not np.isfinite(fitted.history["loss"][0]):
            raise ArithmeticError("the loss is not finite")
        return clock.seconds

    models = {jit: compiled(jit) for jit in (False, True)}
    took = {jit: seconds(model, config["warm_steps"]) for jit, model in models.items()}
    jit = min(
        took, key=lambda jit: took[jit]
    )  # Keras turns it on by itself: the faster of the two is measured

    def run() -> dict[str, float]:
        return {
            "images": config["steps"] * config["batch_size"],
            "seconds": seconds(models[jit], config["steps"]),
        }

    return run, {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "jit_compile": jit,
        "warm_up_seconds_by_jit_compile": {str(key): value for key, value in took.items()},
    }


if __name__ == "__main__":
    serve(prepare)
