"""What is read of every trained model: the training sample, validation and both views of the test images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.splits import Ids
from headstart.methods.base import Context
from headstart.types import Predictions

Part = Literal["train", "test", "mirrored test"]


def read_parts(
    context: Context, logits_of: Callable[[Part, Ids | None], NDArray[np.float32]]
) -> dict[str, Predictions]:
    """Predictions on the training sample, on validation and on test; a part without images is absent.

    logits_of(part, ids): logits float32 (M, C) of a part's images, in the order of `ids`; None: of all."""
    train = context.dataset.train
    predictions = {
        name: Predictions(logits=logits_of("train", ids), labels=train.labels[ids], example_ids=ids)
        for name, ids in (("train", context.sample_ids), ("val", context.val_ids))
        if len(ids)
    }
    if context.reads_test:
        test = context.dataset.test
        plain = logits_of("test", None)
        predictions["test"] = Predictions(
            logits=plain,
            labels=test.labels,
            example_ids=np.arange(len(test)),
            flip_logits=(plain + logits_of("mirrored test", None)) * np.float32(0.5),
        )
    return predictions
