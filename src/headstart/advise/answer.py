"""What is concluded once the ladder is climbed: the chosen model, what to expect of it, what labels bring."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from headstart import store
from headstart.advise import advice
from headstart.advise.advice import Advice
from headstart.advise.ladder import Ladder
from headstart.advise.rung import BACKBONE
from headstart.data.splits import label_subset
from headstart.methods.linear_probe import scaling_of
from headstart.models import load_model
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.predict.predictor import load_predictor
from headstart.results.curve_fit import fit_curve
from headstart.results.label_curves import Estimate, gain_from_doubling
from headstart.results.metrics import accuracy
from headstart.results.stats import wilson_interval
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.studies.run import run_study
from headstart.studies.trials import trials_of
from headstart.training.logistic import SolverOptions, fit_path, predict_logits

_CURVE_SEEDS = 3


def write_answer(ladder: Ladder) -> Advice:
    """The recommendation; writes the study's report, the model, advice.json and advice.md."""
    from headstart.report import write_report

    candidates = ladder.candidates()
    chosen = advice.choose(
        candidates, {result.key: result for result in ladder.results.values()}, ladder.balance
    )
    rivals = [each for each in candidates if each.family != chosen.family]
    rival = max(rivals, key=lambda each: each.score(ladder.balance), default=None)
    study = dataclasses.replace(ladder.study(ladder.rungs), chosen=chosen.name)
    run_study(
        study,
        ladder.folder,
        command=f"headstart advise {ladder.images.path} --minutes {ladder.time.minutes:g}",
    )
    write_report(ladder.folder)
    predictor = load_predictor(ladder.folder / chosen.key)
    model = predictor.save(ladder.folder / "model")
    photos = np.array(ladder.images.dataset.test.images[: predictor.batch_size])
    predictor.probabilities(photos[:1])
    start = time.perf_counter()
    predictor.probabilities(photos)
    per_photo = (time.perf_counter() - start) / len(photos)
    measured, count = ladder.results[chosen.name].metrics, len(ladder.images.dataset.test)
    train_ids, val_ids = ladder.training_ids()
    smallest = int(np.bincount(ladder.images.dataset.train.labels[train_ids]).min())
    right = round((measured["test_accuracy"] or 0.0) * count)
    value = Advice(
        chosen=chosen,
        tries=tuple(candidates),
        dropped=tuple(ladder.dropped),
        accuracy=right / count,
        interval=wilson_interval(right, count),
        balanced_accuracy=measured["test_balanced_accuracy"] or 0.0,
        macro_f1=measured["test_macro_f1"] or 0.0,
        imbalance=advice.imbalance_of(ladder.images.dataset.train.labels),
        classes=advice.class_accuracies(ladder.folder / chosen.key, ladder.images.dataset.train.class_names),
        test_images=count,
        val_images=len(val_ids),
        train_images=len(train_ids),
        labels_per_class=smallest,
        doubling=_doubling(ladder, smallest),
        p_value=None if rival is None else advice.compare(chosen, rival, ladder.folder, ladder.balance),
        rivals_gap=None if rival is None else chosen.score(ladder.balance) - rival.score(ladder.balance),
        seconds_per_photo=per_photo,
        spent_seconds=ladder.time.spent(),
        minutes=ladder.time.minutes,
        fixes=ladder.fixes,
        model=str(model),
        interrupted=ladder.interrupted,
        balanced=ladder.balance,
        decided=ladder.images.decided,
    )
    store.write_json(ladder.folder / "advice.json", value.json())
    store.write_bytes(ladder.folder / "advice.md", value.markdown().encode())
    return value


def _doubling(ladder: Ladder, smallest: int) -> Estimate | None:
    """Accuracy gained by twice the labels, from heads on a half, a quarter, ... of the training part,
    read on validation."""
    probes = [rung for rung in ladder.rungs if rung.method == "linear_probe"]
    if not probes or smallest < 16:
        return None
    probe = max(probes, key=lambda rung: ladder.results[rung.name].metrics["val_accuracy"] or 0.0)
    trial = trials_of(ladder.study([probe]))[0]
    l2, scaling = float(ladder.results[probe.name].selected["l2"]), scaling_of(trial.arm.recipe)
    train = ladder.images.dataset.train
    layers = FrozenLayers(
        network=load_model(BACKBONE, "imagenet-keras", image_pixels=probe.pixels),
        precision=trial.feature_precision,
        device=default_device(),
        calibration=train,
    )
    extracted = FeatureRequest(layers=layers, images=train).extract()
    train_ids, val_ids = ladder.training_ids()
    points: dict[float, dict[int, float]] = {}
    with progress.track("what more labels would bring", 5 * _CURVE_SEEDS, "heads") as bar:
        for budget in sorted({smallest >> halvings for halvings in range(5)}):
            for seed in range(_CURVE_SEEDS):
                ids = label_subset(train.labels, train_ids, train.fingerprint, seed, budget)
                (fit,) = fit_path(
                    extracted.features.values,
                    train.labels,
                    l2_values=[l2],
                    ids=ids,
                    num_classes=len(train.class_names),
                    options=SolverOptions(tolerance=1e-3, device=str(default_device()), scaling=scaling),
                )
                logits = predict_logits(
                    extracted.features.values, fit.weight, fit.bias, ids=val_ids, scaling=scaling
                )
                points.setdefault(float(budget), {})[seed] = accuracy(logits, train.labels[val_ids])
                bar.advance()
    curve = fit_curve(points, np.random.default_rng(0))
    return None if curve is None else gain_from_doubling(curve)
