"""Partial fine-tuning from cached activations equals the same training without the cache; LP-FT starts as the
probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.transfer_trials import CPU, context_of

from headstart.data.batches import ActivationBatches, ImageBatches, StoredViews
from headstart.errors import StoreError
from headstart.methods import partial
from headstart.methods.frozen import training_features
from headstart.methods.lp_ft import start_from
from headstart.models.inference import forward_logits, predict_logits
from headstart.models.network import Tail
from headstart.models.preprocessing import preprocess
from headstart.training import logistic
from headstart.training.loop import train
from headstart.training.step import Step

pytestmark = pytest.mark.usefixtures("own_cache")

# Of the loss: activations are stored as float16 (2^-11) and BatchNorm is folded into the frozen part. Seen:
# up to 3e-5.
TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def narrow_networks() -> None:
    """These networks have all their channels: operations, bytes and rounding are those of ResNet-18."""


@pytest.mark.parametrize(
    ("start", "batchnorm"),
    [("layer4", "train"), ("layer4.1", "frozen"), ("layer3.1", "train"), ("fc", "train")],
)
def test_losses_from_the_cache_are_those_without_it(
    start: str, batchnorm: str, weights: str, tmp_path: Path
) -> None:
    context = context_of(
        "partial",
        tmp_path,
        weights=weights,
        pixels=48,
        trainable_from=start,
        batchnorm=batchnorm,
        duration="4 steps",
        batch_size=15,
        learning_rate=0.01,
        warmup_fraction=0.0,
        clip_norm=None,
    )
    recipe = context.trial.arm.recipe
    cached = partial.Partial().run(context).history

    model, _ = partial.build(context)
    train_set, ids = context.dataset.train, context.train_ids
    batches = ImageBatches(
        torch.from_numpy(train_set.images[ids]),
        torch.from_numpy(train_set.labels[ids]),
        batch_size=15,
        seed=0,
        flip=recipe.flip,
    )
    step = Step(
        network=model,
        recipe=recipe,
        prepare=lambda x: preprocess(x, model.preprocessing),
        device=CPU,
        precision="fp32",
    )
    whole = train(step, batches)
    ours, theirs = [row["train_loss"] for row in cached], [row["train_loss"] for row in whole.history]
    assert (
        len(ours) == 4 and np.ptp(theirs) > 0.05
    )  # weights move: these are not four losses of the head at zero
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE)


def test_only_what_learns_is_computed_in_an_epoch(weights: str, tmp_path: Path) -> None:
    # The last block of ResNet-18 at 64 px: two 3x3 convolutions of 512 channels at 2 x 2 positions, and the
    # head. Forward once, backward twice; the gradient of the stored activations, which the first convolution
    # would give, is not needed.
    context = context_of(
        "partial", tmp_path, weights=weights, pixels=64, trainable_from="layer4.1", duration="1 epochs"
    )
    first, second = (partial.Partial().run(context) for _ in range(2))
    convolution, head = 2 * 4 * 512 * 512 * 9, 2 * 512 * 3
    assert second.flops - second.history[-1]["flops"] == 0
    frozen = sum(part.flops for part in partial.extract_activations(context, *partial.build(context)).all)
    assert first.flops - frozen == 15 * (3 * (2 * convolution + head) - convolution)


def test_predictions_from_the_cache_are_those_of_the_whole_network(weights: str, tmp_path: Path) -> None:
    context = context_of("partial", tmp_path, weights=weights)
    outcome = partial.Partial().run(context)
    model, _ = partial.build(context)
    missing, unexpected = model.load_state_dict(outcome.state, strict=False)
    assert not unexpected and not any(name.startswith(("layer4.", "fc.")) for name in missing)
    images = context.dataset.test.images
    plain, mirrored = (
        predict_logits(model, images, device=CPU, precision="fp32", mirrored=side) for side in (False, True)
    )
    np.testing.assert_allclose(outcome.predictions["test"].logits, plain, rtol=5e-3, atol=5e-3)
    np.testing.assert_allclose(
        outcome.predictions["test"].flip_logits, (plain + mirrored) / 2, rtol=5e-3, atol=5e-3
    )


def test_a_batch_takes_each_images_side_and_label_as_image_batches_would() -> None:
    labels = torch.arange(6)
    plain = np.arange(6, dtype=np.float16)[:, None].repeat(2, 1)
    pixels = torch.zeros(6, 4, 4, 3, dtype=torch.uint8)
    pixels[:, :, 0] = (
        1 + torch.arange(6, dtype=torch.uint8)[:, None, None]
    )  # the left column tells image and side
    for flip in ("none", "random", "alternating"):
        views = StoredViews(plain=plain, mirrored=-1 - plain, rows=np.array([4, 1, 3]))
        ours = ActivationBatches(views, labels[[4, 1, 3]], batch_size=2, seed=3, flip=flip)
        theirs = ImageBatches(pixels[[4, 1, 3]], labels[[4, 1, 3]], batch_size=2, seed=3, flip=flip)
        for epoch in range(4):
            for (x, y), (image, label) in zip(ours.epoch(epoch), theirs.epoch(epoch), strict=True):
                assert torch.equal(y, label) and x.dtype == torch.float16
                is_plain = image[:, 0, 0, 0] > 0
                assert torch.equal(x[:, 0].long(), torch.where(is_plain, label, -1 - label))


def test_the_disk_that_activations_need_is_said_before_anything_is_computed(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(
        StoreError, match=r"at layer3\.1 for 15 training and 12 test images, both sides, needs 0\.0 GB"
    ):
        partial.Partial().run(context_of("partial", tmp_path, weights=weights))
    assert not list((tmp_path / "empty").rglob("values.f16"))


def test_the_bytes_stated_are_the_bytes_written(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "empty"))
    asked: list[int] = []
    monkeypatch.setattr(partial, "require_space", lambda folder, needed, what: asked.append(needed))
    context = context_of("partial", tmp_path, weights=weights, pixels=64)
    for _ in range(2):
        partial.extract_activations(context, *partial.build(context))
    written = sum(path.stat().st_size for path in (tmp_path / "empty").rglob("values.f16"))
    # (15 + 12 images) x 2 views of 4 x 4 x 256 values of two bytes; the second time there is nothing to ask
    # for
    assert asked == [written] == [27 * 2 * 4 * 4 * 256 * 2]


def test_lp_ft_starts_with_the_probes_logits(weights: str, tmp_path: Path) -> None:
    context = context_of("lp_ft", tmp_path, weights=weights, pixels=48)
    features = training_features(context).features
    (fit,) = logistic.fit_path(
        features.values, features.labels, num_classes=3, l2_values=[0.1], ids=context.train_ids
    )
    model = start_from(context, fit)
    want = logistic.predict_logits(features.values, fit.weight, fit.bias)
    assert np.ptp(want, axis=1).min() > 0.1  # the probe tells classes apart: equality says something
    found = predict_logits(model, context.dataset.train.images, device=CPU, precision="fp32")
    np.testing.assert_allclose(found, want, rtol=1e-2, atol=1e-2)


def test_a_cut_network_computes_what_the_whole_one_does(weights: str, tmp_path: Path) -> None:
    context = context_of("partial", tmp_path, weights=weights, trainable_from="layer4.1")
    model, cut = partial.build(context)
    torch.nn.init.normal_(model.fc.weight, generator=torch.Generator().manual_seed(0))
    x = preprocess(context.dataset.test.images, model.preprocessing)
    want = forward_logits(model, [x], device=CPU, precision="fp32")
    with torch.no_grad():
        at_cut = model.eval().forward_to(x, cut)
    tail = Tail(model, cut)
    assert {name.removeprefix("network.").split(".")[0] for name in tail.state_dict()} == {"layer4", "fc"}
    np.testing.assert_array_equal(forward_logits(tail, [at_cut], device=CPU, precision="fp32"), want)
