"""Whether mirror images are still of the same class: asked of a head on frozen features."""

from __future__ import annotations

import numpy as np

from headstart.advise.folds import FoldReader
from headstart.advise.rung import Rung
from headstart.results.stats import mcnemar

_LOSS = 0.05  # of accuracy, at least
_SURE = 0.01  # p value
_IMAGES = 400  # judged at most


def mirroring_hurts(reader: FoldReader, probe: Rung) -> bool:
    """Whether a head that learned from plain images names mirror images worse, by more than chance.

    Then left and right matter (arrows, letters, hands), and networks must not learn from mirror images. One
    fold's held-out images are judged as they are and mirrored."""
    learned, judged = reader.ids(0)
    judged = judged[:: max(1, len(judged) // _IMAGES)]
    heads, labels = reader.heads(probe), reader.dataset.train.labels[judged]
    head = heads.fit(learned)
    plain, mirrored = (
        head(values).argmax(axis=1) == labels
        for values in (np.asarray(heads.features.values[judged]), heads.mirrored(judged).values)
    )
    return bool(plain.mean() - mirrored.mean() > _LOSS and mcnemar(plain, mirrored).p_value < _SURE)
