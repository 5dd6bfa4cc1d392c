"""Images from requests as a model takes them: decoded in processes that can be killed, under limits, by
predict's own reader."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.decode import Limits
from headstart.runtime.cores import usable_cores
from headstart.serve.bodies import SentImage
from headstart.serve.children import CallError, ChildLostError, Children
from headstart.serve.refusal import Refused, busy, short
from headstart.types import Reading

_PROCESSES = 4


class Decoder:
    """Decodes in a few processes, an image at a time in each. One that takes longer than limits.max_seconds
    is killed; its request alone fails."""

    def __init__(self, limits: Limits) -> None:
        self._limits = asdict(limits)
        self.children = Children(
            "headstart.serve.decoding", min(_PROCESSES, usable_cores()), limits.max_seconds
        )

    async def pixels(self, images: Sequence[SentImage], reading: Reading) -> list[NDArray[np.uint8]]:
        """Each image upright: uint8 (H, W, 3). Raises: Refused (422) for the first that is none, (503) where
        the process of one was killed."""
        return await self._each(images, "pixels", {"reading": asdict(reading)})

    async def squares(
        self, images: Sequence[SentImage], image_pixels: int, reading: Reading
    ) -> NDArray[np.uint8]:
        """The images uint8 (N, S, S, 3), S = image_pixels. Raises: as `pixels`."""
        values = {"reading": asdict(reading), "image_pixels": image_pixels}
        return np.stack(await self._each(images, "squares", values))

    async def start(self) -> None:
        """Start a process, so that the first image need not wait for it."""
        await self.children.start()

    async def close(self) -> None:
        await self.children.close()

    async def _each(
        self, images: Sequence[SentImage], operation: str, values: dict[str, Any]
    ) -> list[NDArray[np.uint8]]:
        calls = (
            self.children.call(operation, values | {"limits": self._limits}, image.content)
            for image in images
        )
        results = await asyncio.gather(*calls, return_exceptions=True)
        decoded: list[NDArray[np.uint8]] = []
        for number, (image, result) in enumerate(zip(images, results, strict=True), 1):
            called = _called(image, number, len(images))
            if isinstance(result, CallError):
                raise Refused(422, f"{called} cannot be read ({result.reason})")
            if isinstance(result, ChildLostError):
                raise busy(f"{called} could not be decoded: {result}; try again")
            if isinstance(result, BaseException):
                raise result
            decoded.append(np.frombuffer(bytearray(result[1]), np.uint8).reshape(result[0]["shape"]))
        return decoded


def _called(image: SentImage, number: int, count: int) -> str:
    place = "the image" if count == 1 else f"image {number} of {count}"
    return place if image.name is None else f"{place}, {short(image.name)},"
