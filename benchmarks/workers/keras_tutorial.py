"""The CNN of the usual Keras tutorial, trained in full: 32-64-64 convolutions, dense 64, Adam, batches of
32."""

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


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    images, labels = np.load(config["images_file"]), np.load(config["labels_file"])
    train_ids, val_ids = np.load(config["train_ids_file"]), np.load(config["val_ids_file"])
    x, y = images[train_ids] / np.float32(255), labels[train_ids]
    x_val, y_val = images[val_ids] / np.float32(255), labels[val_ids]

    def run() -> dict[str, float]:
        model = keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(64, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(10),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
        start = time.perf_counter()
        model.fit(x, y, epochs=config["epochs"], batch_size=32, verbose=0)
        seconds = time.perf_counter() - start
        accuracy = float((model.predict(x_val, batch_size=500, verbose=0).argmax(1) == y_val).mean())
        return {"seconds": seconds, "val_accuracy": accuracy, "images": config["epochs"] * len(x)}

    return run, {"tensorflow": tf.__version__, "keras": keras.__version__}


if __name__ == "__main__":
    serve(prepare)
