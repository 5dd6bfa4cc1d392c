"""The training loop: resuming, averaging, diverging, counting, durations in seconds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.small_training import Linear, Numbers, step_of
from torch import Tensor, nn

from headstart.data.batches import ImageBatches, Shuffle
from headstart.errors import ConfigError
from headstart.models.cnn import CNN
from headstart.models.network import Network
from headstart.models.preprocessing import preprocess
from headstart.recipes import CNNRecipe, FineTuneRecipe, TrainingRecipe
from headstart.training import loop, step
from headstart.training.loop import DivergedError, Training, train
from headstart.training.step import Step

SGD = TrainingRecipe(duration="2 epochs", batch_size=4, learning_rate=0.1)


class Clock:
    """A clock that only a step's preparation moves: by `first` for so many steps, then by `later`."""

    def __init__(self, first: float, steps: int, later: float) -> None:
        self.now, self.first, self.steps, self.later = 0.0, first, steps, later

    def perf_counter(self) -> float:
        return self.now

    def rule(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From here on training tells the time by this clock."""
        for module in (loop, step):
            monkeypatch.setattr(module, "time", self)

    def prepare(self, x: Tensor) -> Tensor:
        self.steps -= 1
        self.now += self.first if self.steps >= 0 else self.later
        return x


def _train(recipe: TrainingRecipe, network: Network | None = None, **more: Any) -> Training:
    return train(step_of(recipe, network), Numbers(), **more)


def test_the_last_partial_batch_and_the_fractional_epoch_are_counted() -> None:
    done = _train(TrainingRecipe(duration="4 steps", batch_size=4, learning_rate=0.1))
    assert done.step == 4
    assert done.examples == 4 + 4 + 2 + 4
    assert [row["epoch"] for row in done.history] == [1.0, pytest.approx(4 / 3)]


def test_one_sgd_step_moves_as_worked_out_by_hand() -> None:
    # One point x = (1, 0), label 0, zero weights: softmax is (1/2, 1/2), the gradient of the logits (-1/2,
    # 1/2).
    class One:
        steps_per_epoch = 1
        leaves_single = joins_single = False
        batch_size = 2

        def epoch(self, _: int) -> Iterator[tuple[Tensor, Tensor]]:
            yield torch.tensor([[1.0, 0.0]]), torch.tensor([0])

    model = Linear()
    nn.init.zeros_(model.head.weight)
    recipe = TrainingRecipe(duration="1 steps", batch_size=1, learning_rate=0.2, momentum=0.0)
    train(step_of(recipe, model), One())
    torch.testing.assert_close(model.head.weight.detach(), torch.tensor([[0.1, 0.0], [-0.1, 0.0]]))


@pytest.mark.parametrize(
    "recipe",
    [
        SGD,
        TrainingRecipe(
            duration="7 epochs", batch_size=4, learning_rate=0.1, optimizer="adamw", weight_decay=0.1
        ),
        TrainingRecipe(
            duration="3.4 epochs", batch_size=4, learning_rate=0.1, ema_decay=0.5, warmup_fraction=0.3
        ),
    ],
    ids=["sgd", "adamw", "averaged"],
)
def test_resuming_after_any_epoch_gives_the_same_bits(recipe: TrainingRecipe, tmp_path: Path) -> None:
    whole = _train(recipe).network.state_dict()
    for stop_after in itertools.count(1):
        path = tmp_path / f"{stop_after}.safetensors"
        seen = 0

        def stop(_: Network, limit: int = stop_after, file: Path = path) -> dict[str, float]:
            nonlocal seen
            if file.exists():
                seen += 1
            if seen >= limit:
                raise KeyboardInterrupt
            return {}

        try:
            _train(recipe, checkpoint=path, evaluate=stop)
        except KeyboardInterrupt:
            resumed = _train(recipe, checkpoint=path, evaluate=lambda _: {}).network.state_dict()
            assert all(torch.equal(whole[name], resumed[name]) for name in whole)
        else:
            break
    assert stop_after > 1


def test_a_loss_that_is_not_finite_stops_the_trial_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    class Poisoned(Numbers):
        def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            for number, (x, y) in enumerate(super().epoch(epoch)):
                yield (x * float("nan") if epoch == 1 and number == 1 else x), y

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(DivergedError, match=r"the loss became nan at step 5 of 9 \(learning rate 0\.0556\)"):
        train(step_of(SGD.replace(duration="3 epochs")), Poisoned(), checkpoint=path)
    assert path.exists()


def test_a_loss_that_is_finite_but_absurd_stops_the_trial_too() -> None:
    class Absurd(Numbers):
        def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            for x, y in super().epoch(epoch):
                yield (x, y) if epoch == 0 else (x * 1e12, 1 - y)

    with pytest.raises(DivergedError, match=r"the loss became \d{9,}\S* at step [45] of 9"):
        train(step_of(SGD.replace(duration="3 epochs")), Absurd())


def test_a_network_that_ends_with_infinite_statistics_is_no_result() -> None:
    class Statistics(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("running", torch.tensor(float("inf")))

    with pytest.raises(DivergedError, match="ended with values of running that are NaN or infinite"):
        _train(SGD, Statistics())


class _Normalised(Linear):
    """BatchNorm over the batch alone, as in the last stage of a ResNet at 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.norm(x)


class _OneLeft(Numbers, Shuffle):
    """Ten points in batches of nine or of one."""

    def __init__(self, batch_size: int) -> None:
        Numbers.__init__(self)
        Shuffle.__init__(self, 10, batch_size=batch_size, seed=0)

    steps_per_epoch = Shuffle.steps_per_epoch
    leaves_single = Shuffle.leaves_single

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for part in self.parts():
            yield self.x[part], self.y[part]


def test_a_last_image_alone_joins_its_batch_only_where_the_network_cannot_learn_from_it() -> None:
    normalised, plain = _OneLeft(9), _OneLeft(9)
    done = train(step_of(SGD.replace(duration="2 epochs"), _Normalised()), normalised)
    assert normalised.joins_single and done.step == 2 and done.examples == 20
    done = train(step_of(SGD.replace(duration="2 epochs")), plain)
    assert not plain.joins_single and done.step == 4 and done.examples == 20


def test_batches_of_one_image_that_a_network_cannot_learn_from_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"cannot learn from batches of one image .* give batch_size 2 or more"
    ):
        train(step_of(SGD, _Normalised()), _OneLeft(1))


def test_flops_of_a_linear_layer_are_counted_by_hand() -> None:
    # Forward 2 * 2 * 2 = 8 an example; backward: weights 8, input none (it needs no gradient).
    assert _train(SGD).flops == 16 * 20


def test_averaged_weights_follow_the_decay() -> None:
    recipe = TrainingRecipe(
        duration="2 steps",
        batch_size=4,
        learning_rate=0.1,
        momentum=0.0,
        ema_decay=0.25,
        final_lr_fraction=1.0,
    )
    path: list[Tensor] = []

    class Watched(Linear):
        def forward(self, x: Tensor) -> Tensor:
            path.append(self.head.weight.detach().clone())
            return super().forward(x)

    model = Watched()
    averaged = _train(recipe, model).network.classifier.weight.detach()
    # swa_utils takes the first weights as they are; then 0.25 old + 0.75 new.
    first, second = path[-1], model.head.weight.detach()
    torch.testing.assert_close(averaged, 0.25 * first + 0.75 * second)


def test_the_cnn_learns_and_repeats_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    images = torch.randint(0, 60, (40, 16, 16, 3), generator=generator, dtype=torch.uint8)
    images[labels == 1] += 150
    recipe = CNNRecipe(
        duration="6 epochs",
        batch_size=10,
        learning_rate=0.24,
        momentum=0.6,
        widths=(8, 8, 8),
        flip="alternating",
        translate_pixels=1,
    )

    def once() -> Training:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = CNN(2, image_pixels=16, widths=(8, 8, 8))

        def prepare(x: Tensor) -> Tensor:
            return preprocess(x, model.preprocessing)

        model.fit_whitening(prepare(images))
        batches = ImageBatches(images, labels, batch_size=10, seed=0, flip="alternating", translate_pixels=1)
        return train(dataclasses.replace(step_of(recipe, model), prepare=prepare), batches)

    first, second = once(), once()
    assert first.history[-1]["train_accuracy"] == 1.0
    a, b = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_duration_in_seconds_holds_where_the_machine_becomes_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One step is counted and four are timed, at 1 s each: 60 steps are planned. Six take 1 s, the others 5
    s: after 9 steps, 21 s, there would be 16 more at their pace; after 12 steps, 36 s, 8 more; after 15
    steps, 51 s, 2 more."""
    clock = Clock(first=1.0, steps=5 + 6, later=5.0)
    clock.rule(monkeypatch)
    recipe = SGD.replace(duration="60 seconds")
    done = train(dataclasses.replace(step_of(recipe), prepare=clock.prepare), Numbers())
    assert (done.step, done.seconds) == (17, 61.0)
    rates = [row["learning_rate"] for row in done.history]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.03


def test_a_duration_in_seconds_is_used_up_where_the_machine_becomes_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps are timed at 5 s each: 12 are planned. They take 1 s each: after 3 steps there is time for 57
    more."""
    clock = Clock(first=5.0, steps=5, later=1.0)
    clock.rule(monkeypatch)
    recipe = SGD.replace(duration="60 seconds")
    done = train(dataclasses.replace(step_of(recipe), prepare=clock.prepare), Numbers())
    assert (done.step, done.seconds) == (60, 60.0)
    assert 0 < done.history[-1]["learning_rate"] < 0.03


def test_what_recording_a_step_takes_counts_once_and_not_as_the_pace_of_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Recording takes 20 s beforehand, a step 1 s: of 60 s, 40 steps are left, not fewer for a slow
    beginning."""
    clock = Clock(first=1.0, steps=5, later=1.0)

    def recorded(model: Network, *_: Any, **__: Any) -> Network:
        clock.now += 20.0
        return model

    clock.rule(monkeypatch)
    monkeypatch.setattr(Step, "seconds", lambda *_: 1.0)
    monkeypatch.setattr(step, "recorded", recorded)
    recipe = SGD.replace(duration="60 seconds")
    done = train(dataclasses.replace(step_of(recipe), prepare=clock.prepare), Numbers())
    assert (done.step, done.seconds, done.recording_seconds) == (40, 60.0, 20.0)


def test_a_duration_in_steps_does_not_mind_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(first=1.0, steps=2, later=1000.0)
    clock.rule(monkeypatch)
    recipe = SGD.replace(duration="9 steps")
    assert train(dataclasses.replace(step_of(recipe), prepare=clock.prepare), Numbers()).step == 9


def test_the_gradient_is_bounded_where_batchnorm_keeps_its_statistics() -> None:
    """A step of plain SGD at a rate of 1 moves the weights by the gradient: by 0.5 where that is bounded."""
    moved = {}
    for batchnorm in ("train", "frozen"):
        recipe = FineTuneRecipe(
            duration="1 steps",
            batch_size=4,
            learning_rate=1.0,
            momentum=0.0,
            weight_decay=0.0,
            batchnorm=batchnorm,
            clip_norm=0.5,
        )
        network = torch.nn.Linear(2, 2)
        torch.nn.init.zeros_(network.weight)
        torch.nn.init.zeros_(network.bias)
        step = Step(
            network=network,  # type: ignore[arg-type]
            recipe=recipe,
            prepare=lambda x: x,
            device=torch.device("cpu"),
            precision="fp32",
        )
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        step.take(torch.full((4, 2), 30.0), torch.tensor([0, 0, 0, 1]), [optimizer])
        weights = torch.cat([each.detach().flatten() for each in network.parameters()])
        moved[batchnorm] = float(weights.norm())
    assert moved["frozen"] == pytest.approx(0.5, rel=1e-4)
    assert moved["train"] > 10


class _Convolved(Linear):
    """A convolution with a bias before the head, whose input a bf16 trial gives in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(2, 2, 1)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.convolution(x[..., None]).squeeze(2)


def test_a_last_image_alone_is_tried_in_the_trials_own_precision() -> None:
    step = step_of(SGD, _Convolved())
    step = dataclasses.replace(step, precision="bf16", prepare=lambda x: x.bfloat16())
    assert step.takes_one(_OneLeft(9))
