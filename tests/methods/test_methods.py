"""Every method: which labels it reads, what it freezes, and that a study can run it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.transfer_trials import context_of

from headstart import store
from headstart.data import load_dataset
from headstart.errors import ConfigError
from headstart.methods import METHODS
from headstart.methods.base import Outcome
from headstart.methods.frozen import RANDOM_START_SEED
from headstart.models import load_model
from headstart.models.weights import load_state_file, random_start_hash, weights_hash
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.studies.trial import resolve
from headstart.studies.trials import trials_of

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("method", METHODS)
def test_no_label_outside_the_budget_is_ever_read(method: str, weights: str, tmp_path: Path) -> None:
    start = "none" if method == "scratch" else weights
    outcomes: list[Outcome] = []
    for poisoned in (False, True):
        context = context_of(method, tmp_path / str(poisoned), weights=start)
        assert len(context.train_ids) == 15 and len(context.val_ids) == 0
        if poisoned:
            train = context.dataset.train
            wrong = (train.labels + 1) % 3
            wrong[context.train_ids] = train.labels[context.train_ids]
            assert (wrong != train.labels).sum() == 45
            dataset = dataclasses.replace(context.dataset, train=dataclasses.replace(train, labels=wrong))
            context = dataclasses.replace(context, dataset=dataset)
        outcomes.append(METHODS[method].implementation.run(context))
    honest, misled = outcomes
    for part in honest.predictions:
        np.testing.assert_array_equal(honest.predictions[part].logits, misled.predictions[part].logits)
    assert all(torch.equal(honest.state[name], misled.state[name]) for name in honest.state)
    assert honest.selected == misled.selected


def test_a_partial_trial_leaves_frozen_statistics_out_and_learned_ones_changed(
    weights: str, tmp_path: Path
) -> None:
    start = load_state_file(weights)
    state = METHODS["partial"].implementation.run(context_of("partial", tmp_path, weights=weights)).state
    assert all(name.startswith(("layer4.", "fc.")) for name in state)
    assert not torch.equal(state["layer4.0.bn1.running_mean"], start["layer4.0.bn1.running_mean"])


@pytest.mark.parametrize("method", ["finetune", "lp_ft", "partial"])
def test_frozen_statistics_are_the_same_bits_after_a_trial(method: str, weights: str, tmp_path: Path) -> None:
    start = load_state_file(weights)
    state = (
        METHODS[method]
        .implementation.run(context_of(method, tmp_path, weights=weights, batchnorm="frozen"))
        .state
    )
    statistics = [name for name in state if "running_" in name or "num_batches" in name]
    assert len(statistics) >= 15
    assert all(torch.equal(state[name], start[name]) for name in statistics)
    learned = [name for name in state if name.startswith("layer4.") and name.endswith("weight")]
    assert all(not torch.equal(state[name], start[name]) for name in learned)


def test_statistics_follow_the_batches_where_the_recipe_lets_them(weights: str, tmp_path: Path) -> None:
    start = load_state_file(weights)
    state = METHODS["finetune"].implementation.run(context_of("finetune", tmp_path, weights=weights)).state
    assert all(not torch.equal(state[name], start[name]) for name in state if "running_" in name)


def test_a_resnet_trains_from_random_weights_with_the_fine_tuning_recipe(tmp_path: Path) -> None:
    outcome = METHODS["scratch"].implementation.run(context_of("scratch", tmp_path, recipe="finetune"))
    assert outcome.history[-1]["step"] == 4 and outcome.examples == 30


# --- a study that holds every method ---

STUDY = """name = "ladder"
dataset = "{folder}"
precision = "fp32"
feature_precision = "fp32"
labels_per_class = [5, "all"]
"""
ARM = """[[arms]]
name = "{name}"
model = "resnet18"
method = "{method}"
weights = "{weights}"
input_pixels = 32
{more}
"""
_QUICK = 'recipe_changes = { duration = "2 steps", batch_size = 16 }'


@pytest.fixture(scope="module")
def ladder(photos: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = [
        ("random", "scratch", "none", 'recipe = "resnet-scratch"\n' + _QUICK),
        ("straw", "scratch", "none", 'recipe = "finetune"\n' + _QUICK),
        ("knn", "knn", weights, ""),
        ("knn-random", "knn", "none", ""),
        ("probe", "linear_probe", weights, ""),
        ("probe-random", "linear_probe", "none", ""),
        ("partial", "partial", weights, _QUICK),
        ("block", "partial", weights, _QUICK.replace("{ ", '{ trainable_from = "layer4.1", ')),
        ("finetune", "finetune", weights, _QUICK),
        ("lp_ft", "lp_ft", weights, _QUICK),
    ]
    folder = tmp_path_factory.mktemp("ladder")
    text = STUDY.format(folder=photos) + "".join(
        ARM.format(name=name, method=method, weights=start, more=more) for name, method, start, more in arms
    )
    (folder / "ladder.toml").write_text(text)
    return run_study(str(folder / "ladder.toml"), folder / "runs")


def test_every_rung_runs_in_a_study_at_a_budget_and_at_all_labels(ladder: Path) -> None:
    found = {(r.arm.name, r.label_budget.per_class): r for r in store.finished_trials(ladder)}
    names = {name for name, _ in found}
    assert len(found) == 20 and {found[n, None].arm.method for n in names} == set(METHODS)
    for (name, budget), result in found.items():
        assert result.train_images == (15 if budget else 87), name
        assert 0 <= result.metrics["test_accuracy"] <= 1
        assert result.cost.flops > 0 and result.history
        assert (result.history[-1].get("val_accuracy") is None) == (budget is not None)


def test_stored_predictions_cover_every_test_image_and_both_views(ladder: Path) -> None:
    for result in store.finished_trials(ladder):
        test = store.read_test(result.folder)
        assert test.logits.shape == test.flip_logits.shape == (24, 3)
        assert result.metrics["test_accuracy"] == np.mean(test.logits.argmax(1) == test.labels)


def test_the_report_describes_every_rung_in_words(ladder: Path) -> None:
    from headstart.report.words import method_in_words

    told = {
        r.arm.name: " ".join(method_in_words(r.arm, None, r))
        for r in store.finished_trials(ladder)
        if r.label_budget.is_all
    }
    for name, phrase in {
        "random": "started from random weights",
        "knn": "vote for their classes, nearer ones weighing more",
        "knn-random": "random weights, as a control",
        "partial": "From “layer4” on it goes on learning",
        "block": "From “layer4.1” on",
        "finetune": "Each stage learns at 0.7 times the rate of the one after it",
        "lp_ft": "it becomes the head",
        "straw": "Each stage learns at 0.7 times",
    }.items():
        assert phrase in told[name], (name, told[name])


def test_the_identity_of_a_random_backbone_names_model_and_seed(ladder: Path, photos: Path) -> None:
    study, _ = load_study(str(ladder.parent / "ladder.toml"))
    resolved = {t.arm.name: resolve(t, load_dataset(str(photos)))["weights_hash"] for t in trials_of(study)}
    assert (
        resolved["probe-random"] == resolved["knn-random"] == random_start_hash("resnet18", RANDOM_START_SEED)
    )
    assert resolved["random"] == "none"  # drawn from the trial's seed, which is in the key
    assert len({random_start_hash(model, seed) for model in ("resnet18", "resnet50") for seed in (0, 1)}) == 4


def test_two_models_with_torchvisions_weights_never_share_features() -> None:
    assert weights_hash("torchvision", "resnet18") != weights_hash("torchvision", "resnet34")


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (
            {"method": "finetune", "weights": "none"},
            'needs pretrained weights, e.g. weights = "imagenet-keras"',
        ),
        (
            {"method": "scratch", "weights": "imagenet-keras", "model": "resnet50"},
            "'scratch' starts from random weights",
        ),
        (
            {"method": "scratch", "weights": "none"},
            r"recipe 'cnn-fast' is not for model 'resnet18'; set recipe = \"resnet-scratch\"",
        ),
        (
            {"method": "knn", "weights": "none", "model": "cnn"},
            "networks that come with weights: efficientnet-lite0, resnet101",
        ),
        (
            {
                "method": "partial",
                "weights": "imagenet-keras",
                "model": "resnet50",
                "more": "recipe_changes = { translate_pixels = 2 }",
            },
            "'translate_pixels' must be 0",
        ),
        (
            {
                "method": "finetune",
                "weights": "imagenet-keras",
                "model": "resnet50",
                "more": 'recipe_changes = { optimizer = "muon" }',
            },
            "optimizer 'muon' is for the custom CNN's recipes",
        ),
        (
            {
                "method": "finetune",
                "weights": "imagenet-keras",
                "model": "resnet50",
                "more": 'recipe_changes = { batchnorm = "off" }',
            },
            r"unknown batchnorm 'off'.*choose from: frozen, train",
        ),
        (
            {
                "method": "finetune",
                "weights": "imagenet-keras",
                "model": "resnet50",
                "more": 'recipe = "partial"',
            },
            "recipe 'partial' is not one of method 'finetune'",
        ),
    ],
)
def test_an_arm_that_does_not_fit_together_is_refused(
    arm: dict[str, str], message: str, photos: Path, tmp_path: Path
) -> None:
    text = ARM.format(**({"name": "arm", "more": ""} | arm)).replace("resnet18", arm.get("model", "resnet18"))
    (tmp_path / "study.toml").write_text(STUDY.format(folder=photos) + text)
    with pytest.raises(ConfigError, match=message):
        load_study(str(tmp_path / "study.toml"))


def test_a_stage_that_is_not_there_is_named_with_the_choices(weights: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="'trainable_from': 'layer5' is no stage of this network; choose a stage or"
    ):
        METHODS["partial"].implementation.run(
            context_of("partial", tmp_path, weights=weights, trainable_from="layer5")
        )
    with pytest.raises(
        ConfigError, match="nothing comes before 'stem' to be frozen; use method \"finetune\""
    ):
        METHODS["partial"].implementation.run(
            context_of("partial", tmp_path, weights=weights, trainable_from="stem")
        )


def test_random_features_are_those_of_the_fixed_seed(tmp_path: Path) -> None:
    from headstart.methods.frozen import training_features
    from headstart.models.preprocessing import preprocess

    context = context_of("knn", tmp_path)
    found = training_features(context).features.values
    model = load_model("resnet18", "none", seed=0, image_pixels=32)
    with torch.no_grad():
        want = model.forward_features(preprocess(context.dataset.train.images, model.preprocessing)).numpy()
    np.testing.assert_allclose(found, want, rtol=2e-3, atol=2e-3)
