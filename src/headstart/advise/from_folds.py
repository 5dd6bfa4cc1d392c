"""The answer of a search over folds: the chosen candidate fitted anew on all images, and what to expect of
it."""

from __future__ import annotations

import numpy as np

from headstart.advise.advice import Advice
from headstart.advise.answer import Conclusion, file_names, write_answer
from headstart.advise.candidates import Candidate, Judged, best_rival, compare, gain
from headstart.advise.label_curve import LabelCurve, measure_curve
from headstart.advise.rung import Rung
from headstart.advise.search import Search
from headstart.methods.frozen import backbone_layers
from headstart.models.features import FeatureRequest
from headstart.predict.predictor import Predictor, load_predictor
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.studies.fit import make_fold_context
from headstart.types import Features

_REFIT_FACTOR = 1.4  # all images instead of four fifths, with room
_CURVE_FOLDS = 3
_L2 = 0.1
_CURVE_SECONDS = 10.0


def answer_from_folds(search: Search) -> Advice:
    """The final model in search.folder/model, and the answer."""
    chosen = search.best()
    assert chosen is not None  # a search without a candidate raises
    rung = next(each for each in search.rungs if each.name == chosen.name)
    predictor, refitted = _final_model(search, rung)
    features = _features(search, rung) if rung.is_frozen else None
    if features is not None:
        predictor.learn_familiar(features.values, search.reader.fold_of)
    model = predictor.save(search.folder / "model", self_contained=True)
    test, train = search.images.dataset.test, search.images.dataset.train
    if search.images.own_test:
        judged, images = _own_test(search, predictor), test.images
        names = file_names(test)
    else:
        judged = search.judged(chosen.name)
        of_train = file_names(train)
        images, names = train.images[judged.ids], [of_train[place] for place in judged.ids]
    candidates = search.candidates()
    rival = best_rival(candidates, chosen, search.balance)
    conclusion = Conclusion(
        chosen=chosen,
        tries=candidates,
        judged=judged,
        how="own test" if search.images.own_test else "folds",
        predictor=predictor,
        model=model,
        val_images=chosen.images,
        train_images=len(train) if refitted else len(search.reader.ids(0)[0]),
        refitted=refitted,
        labels_per_class=int(np.bincount(train.labels).min()),
        curve=_curve(search, chosen),
        p_value=None
        if rival is None
        else compare(search.judged(chosen.name), search.judged(rival.name), search.balance),
        rivals_gap=None
        if rival is None
        else gain(search.judged(chosen.name), search.judged(rival.name), search.balance)[0],
        shown=images,
        names=names,
        unfamiliar=predictor.refused_fraction,
    )
    search.reader.forget()
    return write_answer(search, conclusion)


def _final_model(search: Search, rung: Rung) -> tuple[Predictor, bool]:
    """The candidate fitted on all images; a network for which there is no time is that of its first fold."""
    first = search.read[rung.name][0]
    if not rung.is_frozen and search.time.left() < _REFIT_FACTOR * first.seconds and first.model_kept:
        return load_predictor(first.folder), False
    progress.say(f"fitting {rung.label} on all {len(search.reader.dataset.train):,} images")
    fitted = search.reader.refit(search.fixed(rung, 1.25))
    state = Predictor(fitted.saved, fitted.state).complete_state()
    return Predictor(fitted.saved, state), True


def _own_test(search: Search, predictor: Predictor) -> Judged:
    test = search.images.dataset.test
    return Judged(
        ids=np.arange(len(test)),
        logits=predictor.logits(np.asarray(test.images)),
        labels=test.labels,
        units=np.arange(len(test)),
    )


def _features(search: Search, rung: Rung) -> Features:
    """The frozen features of all training images, from the cache."""
    reader = search.reader
    ids = reader.ids(0)
    context = make_fold_context(
        reader.trial(rung, ids[0]), reader.dataset, ids, reader.folder, default_device()
    )
    return FeatureRequest(layers=backbone_layers(context), images=reader.dataset.train).extract().features


def _curve(search: Search, chosen: Candidate) -> LabelCurve | None:
    """From the first probe's features, where there is time and something was wrong."""
    probe = next((each for each in search.rungs if each.method == "linear_probe"), None)
    if probe is None or chosen.score(search.balance) >= 1 or search.time.left() < _CURVE_SECONDS:
        return None
    splits = [search.reader.ids(fold) for fold in range(_CURVE_FOLDS)]
    return measure_curve(_features(search, probe).values, search.reader.dataset.train, splits, _L2)
