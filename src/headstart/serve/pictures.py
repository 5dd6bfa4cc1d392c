"""Images from requests as a model takes them: decoded in a few threads, under limits, by predict's own
reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.decode import Limits, UnreadableError, decode, square
from headstart.data.folders.rows import Gate
from headstart.runtime.cores import usable_cores
from headstart.serve.bodies import SentImage
from headstart.serve.refusal import Refused, short
from headstart.types import Reading

_THREADS = 4


class Decoder:
    """Decodes in a few threads; all images that are being decoded have at most limits.max_pixels together.
    Used inside quiet_pillow."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._gate = limits, Gate(limits.max_pixels)
        self._pool = ThreadPoolExecutor(min(_THREADS, usable_cores()), "decoder")

    async def pixels(self, images: Sequence[SentImage], reading: Reading) -> list[NDArray[np.uint8]]:
        """Each image upright: uint8 (H, W, 3). Raises: Refused (422) for the first that is none."""
        return await self._each(images, lambda image: self._decoded(image, reading))

    async def squares(
        self, images: Sequence[SentImage], image_pixels: int, reading: Reading
    ) -> NDArray[np.uint8]:
        """The images uint8 (N, S, S, 3), S = image_pixels. Raises: as `pixels`."""
        found = await self._each(
            images, lambda image: square(self._decoded(image, reading), image_pixels, reading.fit)
        )
        return np.stack(found)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def _each(
        self, images: Sequence[SentImage], function: Callable[[SentImage], NDArray[np.uint8]]
    ) -> list[NDArray[np.uint8]]:
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(self._pool, function, image) for image in images]
        results = await asyncio.gather(*work, return_exceptions=True)
        found: list[NDArray[np.uint8]] = []
        for number, (image, result) in enumerate(zip(images, results, strict=True), 1):
            if isinstance(result, UnreadableError):
                raise Refused(422, f"{_called(image, number, len(images))} cannot be read ({result.reason})")
            if isinstance(result, BaseException):
                raise result
            found.append(result)
        return found

    def _decoded(self, image: SentImage, reading: Reading) -> NDArray[np.uint8]:
        with ExitStack() as held:
            decoded = decode(
                image.content,
                self._limits,
                lambda pixels: held.enter_context(self._gate.hold(pixels)),
                reading,
            )
            return np.array(decoded.image)


def _called(image: SentImage, number: int, count: int) -> str:
    place = "the image" if count == 1 else f"image {number} of {count}"
    return place if image.name is None else f"{place}, {short(image.name)},"
