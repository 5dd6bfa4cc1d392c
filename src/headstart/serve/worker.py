"""One thread that computes: images of several requests pass through a network together.

An image waits for others only while other requests are on their way (being decoded), and at most max_wait_ms.
A request's images stay together and in order: of a request that is alone, the batch is what `headstart
predict` makes of the same images.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.serve.served import ServedModel

OnBatch = Callable[[str, int, float], None]  # (model's name, images, seconds of computing)
_LOG = logging.getLogger("headstart.serve")


@dataclass(kw_only=True, eq=False)
class _Work:
    """Images for a model, or a call (images None); its future gives the answer."""

    model: ServedModel
    images: NDArray[np.uint8] | None = None
    call: Callable[[], Any] | None = None
    future: Future[Any] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class Worker:
    """Computes in one thread, in the order of arrival; close() ends it when all that has come is done."""

    def __init__(self, max_batch: int, max_wait_ms: float, on_batch: OnBatch) -> None:
        self._max_batch, self._max_wait, self._on_batch = max_batch, max_wait_ms / 1000, on_batch
        self._changed = threading.Condition()
        self._queue: deque[_Work] = deque()
        self._coming = 0  # requests whose images are being decoded
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._closing

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Images are on their way while the block runs; others may wait for them."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def probabilities(self, model: ServedModel, images: NDArray[np.uint8]) -> Future[NDArray[np.float32]]:
        """The class probabilities float32 (N, C) of images uint8 (N, S, S, 3), when they are computed."""
        return self._submit(_Work(model=model, images=images))

    def call(self, model: ServedModel, function: Callable[[], Any]) -> Future[Any]:
        """What a function of the model gives, called between two batches."""
        return self._submit(_Work(model=model, call=function))

    def close(self) -> None:
        """Computes what has come, and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _submit(self, work: _Work) -> Future[Any]:
        with self._changed:
            self._queue.append(work)
            self._changed.notify_all()
        return work.future

    def _run(self) -> None:
        while batch := self._next():
            running = [work for work in batch if work.future.set_running_or_notify_cancel()]
            if not running:
                continue
            try:
                self._compute(running)
            except Exception as error:
                _LOG.exception("a batch failed")
                for work in running:
                    if not work.future.done():
                        work.future.set_exception(error)

    def _compute(self, batch: list[_Work]) -> None:
        first = batch[0]
        if first.call is not None:
            try:
                first.future.set_result(first.call())
            except Exception as error:  # the caller's to judge
                first.future.set_exception(error)
            return
        parts = [work.images for work in batch if work.images is not None]
        images = parts[0] if len(parts) == 1 else np.concatenate(parts)
        begin = time.perf_counter()
        probabilities = first.model.answer(images, self._max_batch)
        self._on_batch(first.model.name, len(images), time.perf_counter() - begin)
        start = 0
        for work, part in zip(batch, parts, strict=True):
            work.future.set_result(probabilities[start : start + len(part)])
            start += len(part)

    def _next(self) -> list[_Work]:
        """What is computed next, together; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return []
            until = self._queue[0].arrived + self._max_wait
            while self._coming and not self._closing and not self._is_full():
                if (left := until - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)
            return self._take()

    def _is_full(self) -> bool:
        first = self._queue[0]
        if first.images is None:
            return True
        return (
            sum(len(work.images) for work in self._fitting(first) if work.images is not None)
            >= self._max_batch
        )

    def _take(self) -> list[_Work]:
        first = self._queue[0]
        if first.images is None:
            return [self._queue.popleft()]
        batch, count = [first], len(first.images)
        for work in self._fitting(first)[1:]:
            assert work.images is not None
            if count + len(work.images) <= self._max_batch:
                batch.append(work)
                count += len(work.images)
        for work in batch:
            self._queue.remove(work)
        return batch

    def _fitting(self, first: _Work) -> list[_Work]:
        """All that waits for the first one's model, in order."""
        return [work for work in self._queue if work.model is first.model and work.images is not None]
