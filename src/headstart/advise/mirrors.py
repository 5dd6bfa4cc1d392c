"""Whether mirror images are still of the same class: asked of a head on frozen features."""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.advise.folds import FoldReader
from headstart.advise.rung import Rung
from headstart.methods.frozen import backbone_layers
from headstart.models.features import FeatureRequest
from headstart.results.stats import mcnemar
from headstart.studies.fit import make_fold_context
from headstart.training.logistic import SolverOptions, fit_path, predict_logits

_LOSS = 0.05  # of accuracy, at least
_SURE = 0.01  # p value
_L2 = 0.1
_IMAGES = 400  # judged at most


def mirroring_hurts(reader: FoldReader, probe: Rung) -> bool:
    """Whether a head that learned from plain images names mirror images worse, by more than chance.

    Then left and right matter (arrows, letters, hands), and networks must not learn from mirror images. One
    fold's held-out images are judged as they are and mirrored."""
    learned, judged = reader.ids(0)
    judged = judged[:: max(1, len(judged) // _IMAGES)]
    train = reader.dataset.train
    context = make_fold_context(
        reader.trial(probe, learned), reader.dataset, (learned, judged), reader.folder, reader.device
    )
    layers = backbone_layers(context)
    plain = FeatureRequest(layers=layers, images=train).extract().features.values
    mirrored = dataclasses.replace(
        FeatureRequest(layers=layers, images=train, mirrored=True), ids=judged
    ).extract("mirrored images")
    (fit,) = fit_path(
        plain,
        train.labels,
        l2_values=[_L2],
        ids=learned,
        num_classes=len(train.class_names),
        options=SolverOptions(tolerance=1e-3),
    )
    labels = train.labels[judged]
    right = [
        predict_logits(values, fit.weight, fit.bias, ids=ids).argmax(axis=1) == labels
        for values, ids in ((plain, judged), (mirrored.features.values, np.arange(len(judged))))
    ]
    return bool(right[0].mean() - right[1].mean() > _LOSS and mcnemar(*right).p_value < _SURE)
