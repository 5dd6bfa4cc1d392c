"""Images of several requests pass through a network together, and each gets its own answer."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
from headstart.serve.served import ServedModel
from headstart.serve.worker import Worker


class Counting:
    """A predictor that answers with each image's first value, and keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.free = threading.Event()
        self.entered = threading.Event()

    def probabilities(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        self.entered.set()
        assert self.free.wait(20)
        self.sizes.append(len(images))
        if images[0, 0, 0, 0] == 255:
            raise ValueError("a white image")
        return images[:, :1, 0, 0].astype(np.float32)


def served(predictor: Counting, name: str = "a") -> ServedModel:
    return ServedModel(name, predictor)  # type: ignore[arg-type]


def images(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


def worker(**given: Any) -> Worker:
    return Worker(**({"max_batch": 4, "max_wait_ms": 0.0, "on_batch": lambda *_: None} | given))


def test_what_comes_while_it_computes_is_computed_together() -> None:
    predictor = Counting()
    model, running = served(predictor), worker()
    first = running.probabilities(model, images(1))
    assert predictor.entered.wait(20)
    others = [running.probabilities(model, images(*values)) for values in ((2, 3), (4,), (5, 6), (7,))]
    predictor.free.set()
    assert first.result(20).tolist() == [[1.0]]
    assert [other.result(20).ravel().tolist() for other in others] == [[2, 3], [4], [5, 6], [7]]
    running.close()
    assert predictor.sizes == [1, 4, 2]  # 2, 3, 4 and 7 fit into four; 5 and 6 stay together


def test_it_waits_for_images_that_are_on_their_way_and_no_longer() -> None:
    predictor = Counting()
    predictor.free.set()
    model, running = served(predictor), worker(max_wait_ms=10_000.0)
    assert running.probabilities(model, images(1)).result(5).tolist() == [[1.0]]  # nothing else is coming
    with running.expecting():
        first = running.probabilities(model, images(2))
        second = running.probabilities(model, images(3))
        assert not first.done()
    assert (first.result(5).tolist(), second.result(5).tolist()) == ([[2.0]], [[3.0]])
    running.close()
    assert predictor.sizes == [1, 2]


def test_it_waits_no_longer_than_the_bound() -> None:
    predictor = Counting()
    predictor.free.set()
    running = worker(max_wait_ms=1.0)
    with running.expecting():
        assert running.probabilities(served(predictor), images(1)).result(5).tolist() == [[1.0]]
    running.close()


def test_models_are_never_mixed() -> None:
    blocked, other = Counting(), Counting()
    other.free.set()
    first, second, running = served(blocked), served(other, "b"), worker()
    begun = running.probabilities(first, images(1))
    assert blocked.entered.wait(20)
    answers = [running.probabilities(model, images(9)) for model in (second, first, second)]
    blocked.free.set()
    assert [future.result(20).tolist() for future in (begun, *answers)] == [[[1.0]], *[[[9.0]]] * 3]
    running.close()
    assert (blocked.sizes, other.sizes) == ([1, 1], [2])


def test_a_failed_batch_or_call_fails_alone() -> None:
    predictor = Counting()
    predictor.free.set()
    model, running = served(predictor), worker()
    with pytest.raises(ValueError, match="a white image"):
        running.probabilities(model, images(255)).result(20)
    with pytest.raises(ZeroDivisionError):
        running.call(model, lambda: 1 // 0).result(20)
    assert running.call(model, lambda: 7).result(20) == 7
    assert running.probabilities(model, images(1)).result(20).tolist() == [[1.0]]
    running.close()


def test_what_is_given_up_is_not_computed_and_what_waits_at_the_end_is() -> None:
    predictor = Counting()
    model, running = served(predictor), worker(max_batch=1)
    begun = running.probabilities(model, images(1))
    assert predictor.entered.wait(20)
    given_up, kept = running.probabilities(model, images(2)), running.probabilities(model, images(3))
    assert given_up.cancel() and running.is_alive
    predictor.free.set()
    running.close()
    assert not running.is_alive
    assert (begun.result(0).tolist(), kept.result(0).tolist()) == ([[1.0]], [[3.0]])
    with pytest.raises(CancelledError):
        given_up.result(0)
    assert predictor.sizes == [1, 1]
