"""The answer of a search over folds: the chosen candidate fitted anew on all images, and what to expect of
it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.advise.advice import Advice, How
from headstart.advise.answer import Conclusion, file_names, write_answer
from headstart.advise.candidates import Candidate, Judged, best_rival, compare, gain
from headstart.advise.images import PartOfImages
from headstart.advise.label_curve import LabelCurve, measure_curve
from headstart.advise.rung import Rung
from headstart.advise.search import Search
from headstart.errors import StoreError
from headstart.models.saved import FILE
from headstart.predict.predictor import Predictor, load_predictor
from headstart.runtime import progress
from headstart.store.hashes import sha256_of
from headstart.store.remedies import CACHED
from headstart.training.loop import DivergedError

_REFIT_FACTOR = 1.4  # all images instead of four fifths, with room
_CURVE_FOLDS = 3
_PAGE_SECONDS = 4.0
_FINAL = "final.json"  # which candidate the folder's model is


def answer_from_folds(search: Search) -> Advice:
    """The final model in search.folder/model, and the answer."""
    chosen = search.best()
    assert chosen is not None  # a search without a candidate raises
    rung = next(each for each in search.rungs if each.name == chosen.name)
    predictor, refitted = _final_model(search, rung)
    if rung.is_frozen:
        values = search.reader.heads(rung).features.values
        predictor.learn_familiar(values, search.reader.fold_of)
    model = predictor.save(search.folder / "model", self_contained=True)
    if refitted:
        _note_final(search, rung)
    test, train = search.images.dataset.test, search.images.dataset.train
    images: NDArray[np.uint8] | PartOfImages
    if search.images.own_test:
        judged, images = _own_test(search, predictor), np.asarray(test.images)
        names = file_names(test)
    else:
        judged = search.judged(chosen.name)
        of_train = file_names(train)
        images, names = PartOfImages(train, judged.ids), [of_train[place] for place in judged.ids]
    candidates = search.candidates()
    rival = best_rival(candidates, chosen, search.balance)
    conclusion = Conclusion(
        chosen=chosen,
        tries=candidates,
        judged=judged,
        how=_how(search),
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


def _how(search: Search) -> How:
    return "own test" if search.images.own_test else "folds" if search.folds > 1 else "fifth"


def _final_model(search: Search, rung: Rung) -> tuple[Predictor, bool]:
    """The candidate fitted on all images; a network for which there is no time is that of its first fold."""
    first = search.read[rung.name][0]
    if not rung.is_frozen and _is_final(search, rung):
        return load_predictor(search.folder / "model"), True
    if not rung.is_frozen and search.pace.left() < _REFIT_FACTOR * first.seconds and first.model_kept:
        return load_predictor(first.folder), False
    progress.say(f"fitting {rung.label} on all {len(search.reader.dataset.train):,} images")
    try:
        fitted = search.reader.refit(_on_all(search, rung))
    except DivergedError as error:
        if not first.model_kept:
            raise
        search.pass_over(f"{rung.label}, fitted on all images: {error}")
        return load_predictor(first.folder), False
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


def _on_all(search: Search, rung: Rung) -> Rung:
    """A quarter more images have a quarter more steps."""
    return search.fixed(rung, 1.25)


def _is_final(search: Search, rung: Rung) -> bool:
    """Whether the folder's model is this candidate, fitted by an earlier run of the same command."""
    try:
        noted = store.read_json(search.folder / _FINAL, CACHED)
        return bool(noted == _final_facts(search, rung))
    except (StoreError, OSError):
        return False


def _note_final(search: Search, rung: Rung) -> None:
    store.write_sealed(search.folder / _FINAL, _final_facts(search, rung))


def _final_facts(search: Search, rung: Rung) -> dict[str, str]:
    with (search.folder / "model" / FILE).open("rb") as file:
        content = sha256_of(file)
    return {"key": search.reader.refit_key(_on_all(search, rung)), "model": content}


def _curve(search: Search, chosen: Candidate) -> LabelCurve | None:
    """Of the first probe, where there is time and something was wrong."""
    probe = next((each for each in search.rungs if each.method == "linear_probe"), None)
    if probe is None or chosen.score(search.balance) >= 1:
        return None
    splits = [search.reader.ids(fold) for fold in range(_CURVE_FOLDS)]
    seconds = search.time.left() - _PAGE_SECONDS * search.time.slowness
    return measure_curve(search.reader.heads(probe), splits, seconds)
