"""Peer: the transfer tutorial of Keras's guide "Transfer learning & fine-tuning": a frozen network, a dropout
and a new dense layer, images of 150 px, flips and rotations, Adam; with the ResNet-50 weights of the others.

The guide trains for two epochs on thousands of images; here it goes on until its minutes are over, 20 epochs
at most."""

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
from safetensors.numpy import load_file

_PIXELS, _BATCH, _EPOCHS = 150, 64, 20
_BLOCKS = (3, 4, 6, 3)


def resnet50(state: dict[str, np.ndarray]) -> keras.Model:
    """The frozen network of Keras's original ResNet-50 up to its pooled features, with these weights (under
    torchvision's names); it takes BGR values less their means."""
    made: list[tuple[Any, str]] = []

    def convolution(x: Any, name: str, filters: int, side: int, stride: int, norm: str) -> Any:
        if side > 1:
            x = layers.ZeroPadding2D(side // 2)(x)
        layer = layers.Conv2D(filters, side, stride, trainable=False)
        scaled = layers.BatchNormalization(epsilon=1e-3, trainable=False)
        made.extend([(layer, name), (scaled, norm)])
        return scaled(layer(x))

    images = keras.Input((_PIXELS, _PIXELS, 3))
    x = layers.ReLU()(convolution(images, "conv1", 64, 7, 2, "bn1"))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for stage, count in enumerate(_BLOCKS, start=1):
        width = 32 * 2**stage
        for block in range(count):
            place, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            y = layers.ReLU()(convolution(x, f"{place}.conv1", width, 1, stride, f"{place}.bn1"))
            y = layers.ReLU()(convolution(y, f"{place}.conv2", width, 3, 1, f"{place}.bn2"))
            y = convolution(y, f"{place}.conv3", 4 * width, 1, 1, f"{place}.bn3")
            if block == 0:
                down = f"{place}.downsample"
                x = convolution(x, f"{down}.0", 4 * width, 1, stride, f"{down}.1")
            x = layers.ReLU()(layers.Add()([x, y]))
    model = keras.Model(images, layers.GlobalAveragePooling2D()(x))
    for layer, name in made:
        if isinstance(layer, layers.Conv2D):
            layer.set_weights([state[f"{name}.weight"].transpose(2, 3, 1, 0), state[f"{name}.bias"]])
        else:
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([state[f"{name}.{part}"] for part in parts])
    return model


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    def run() -> dict[str, Any]:
        start, used = time.perf_counter(), time.process_time()
        keras.utils.set_random_seed(config["seed"])
        photos = keras.utils.image_dataset_from_directory(
            config["folder"], image_size=(_PIXELS, _PIXELS), batch_size=_BATCH, verbose=False
        )
        base = resnet50(load_file(config["weights_file"]))
        images = keras.Input((_PIXELS, _PIXELS, 3))
        x = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(images))
        x = x[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
        x = layers.Dropout(0.2)(base(x, training=False))
        model = keras.Model(images, layers.Dense(config["classes"])(x))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.Adam(), loss=loss)
        deadline = start + 60 * config["minutes"]
        done = 0
        while done < _EPOCHS and time.perf_counter() < deadline:
            for batch in photos:
                model.train_on_batch(*batch)
                if time.perf_counter() > deadline:
                    break
            done += 1
        seconds, processor = time.perf_counter() - start, time.process_time() - used
        test, labels = np.load(config["images_file"]), np.load(config["labels_file"])
        said = [
            model.predict_on_batch(tf.image.resize(test[begin : begin + _BATCH], (_PIXELS, _PIXELS))).argmax(
                1
            )
            for begin in range(0, len(test), _BATCH)
        ]
        accuracy = float((np.concatenate(said) == labels).mean())
        return {"seconds": seconds, "processor_seconds": processor, "accuracy": accuracy, "epochs": done}

    return run, {"tensorflow": tf.__version__, "keras": keras.__version__}


if __name__ == "__main__":
    serve(prepare)
