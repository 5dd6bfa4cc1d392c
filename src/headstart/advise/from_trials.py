"""The answer of trials that keep a part for choosing and another for testing."""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.advise.advice import Advice
from headstart.advise.answer import Conclusion, file_names, write_answer
from headstart.advise.candidates import best_rival, choose, compare, read_part
from headstart.advise.heads import Heads
from headstart.advise.label_curve import LabelCurve, measure_curve
from headstart.advise.ladder import Ladder
from headstart.advise.whole import learn_from_all, sample_in_words
from headstart.advise.wording import imbalance_of
from headstart.predict.predictor import load_predictor
from headstart.runtime import progress
from headstart.studies.run import run_study

_CURVE_SEEDS = 3
_PAGE_SECONDS = 4.0


def answer_from_trials(ladder: Ladder) -> Advice:
    """The study's report, the model in ladder.folder/model, and the answer.

    Where the images are a sample of many, the answer of the sample is written first; that of the model that
    learned from all of them replaces it, where there is time for it."""
    conclusion = _conclude(ladder)
    answer = write_answer(ladder, conclusion)
    if ladder.images.storage is None or ladder.interrupted:
        return answer
    progress.say(f"first answer after {progress.clock(ladder.time.spent())}: {answer.sentence()}")
    whole = learn_from_all(ladder, conclusion.chosen)
    ladder.note_time()
    if whole is None:  # why not is among what was passed over
        return write_answer(ladder, conclusion)
    return write_answer(ladder, _of_all(ladder, whole, conclusion))


def _conclude(ladder: Ladder) -> Conclusion:
    from headstart.report import write_report

    candidates = ladder.candidates()
    trials = {result.key: result for result in ladder.results.values()}
    chosen = choose(candidates, trials, ladder.balance)
    rival = best_rival(candidates, chosen, ladder.balance)
    study = dataclasses.replace(ladder.study(ladder.rungs), chosen=chosen.name)
    minutes = ladder.time.minutes
    run_study(study, ladder.folder, command=f"headstart advise {ladder.images.path} --minutes {minutes:g}")
    write_report(ladder.folder)
    predictor = load_predictor(ladder.folder / chosen.key)
    model = predictor.save(ladder.folder / "model", self_contained=True)
    test = ladder.images.dataset.test
    train_ids, val_ids = ladder.training_ids()
    return Conclusion(
        chosen=chosen,
        tries=candidates,
        judged=read_part(ladder.results[chosen.name], "test"),
        how="own test" if ladder.images.own_test else "hold-out",
        predictor=predictor,
        model=model,
        val_images=len(val_ids),
        train_images=len(train_ids),
        refitted=False,
        labels_per_class=int(np.bincount(ladder.images.dataset.train.labels[train_ids]).min()),
        curve=_curve(ladder),
        p_value=None
        if rival is None
        else compare(ladder.judged(chosen), ladder.judged(rival), ladder.balance),
        rivals_gap=None if rival is None else chosen.score(ladder.balance) - rival.score(ladder.balance),
        shown=test.images,
        names=file_names(test),
        sample=sample_in_words(ladder.images, None),
    )


def _of_all(ladder: Ladder, whole: Ladder, conclusion: Conclusion) -> Conclusion:
    """What the model that learned from all images concludes; the comparison stays that of the sample."""
    name = conclusion.chosen.name
    predictor = load_predictor(whole.results[name].folder)
    train_ids, val_ids = whole.training_ids()
    dataset = whole.images.dataset
    return dataclasses.replace(
        conclusion,
        chosen=dataclasses.replace(conclusion.chosen, seconds=whole.results[name].cost.total_seconds),
        judged=read_part(whole.results[name], "test"),
        predictor=predictor,
        model=predictor.save(ladder.folder / "model", self_contained=True),
        val_images=len(val_ids),
        train_images=len(train_ids),
        labels_per_class=int(np.bincount(dataset.train.labels[train_ids]).min()),
        shown=dataset.test.images,
        names=file_names(dataset.test),
        sample=sample_in_words(ladder.images, whole.images),
        imbalance=imbalance_of(dataset.train.labels),
    )


def _curve(ladder: Ladder) -> LabelCurve | None:
    """From the best probe's features, its heads read on the images kept for choosing."""
    probes = [rung for rung in ladder.rungs if rung.method == "linear_probe"]
    if not probes:
        return None
    probe = max(probes, key=lambda rung: ladder.results[rung.name].metrics["val_accuracy"] or 0.0)
    heads = Heads(probe, ladder.images.name, ladder.images.dataset, ladder.folder)
    return measure_curve(heads, [ladder.training_ids()] * _CURVE_SEEDS, ladder.time.left() - _PAGE_SECONDS)
