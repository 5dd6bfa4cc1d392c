"""Small versions of images: made when first asked for, in processes that can be killed, kept in the cache."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from headstart import store
from headstart.app.listing import Listed
from headstart.data.folders.decode import Limits
from headstart.errors import DataError, StoreError
from headstart.runtime.cores import usable_cores
from headstart.runtime.show import printable
from headstart.serve.children import CallError, ChildLostError, Children

SIDES = (160, 512)  # pixels of the longer side
_SCHEMA = 1
_LIMITS = Limits(max_seconds=10.0)


class Thumbnails:
    """Thumbnails in the cache, by path, size and time of the file."""

    def __init__(self) -> None:
        self.children = Children(
            "headstart.serve.decoding", max(2, min(4, usable_cores())), _LIMITS.max_seconds
        )

    async def content(self, image: Listed, side: int) -> bytes:
        """An image's thumbnail, a JPEG. Where the cache takes nothing, the disk being full, it is made each
        time. Raises: DataError where the file gives no image."""
        try:
            facts = os.stat(image.path)
        except OSError as error:
            raise DataError(f"the file cannot be read ({error.strerror})") from error
        key = store.digest([_SCHEMA, printable(image.path), facts.st_size, facts.st_mtime_ns, side])
        path = store.cache_folder() / "thumbnails" / key[:2] / f"{key[2:34]}.jpg"
        if (kept := _kept(path)) is not None:
            return kept
        made = await self._made(side, path=image.path, root=image.root)
        with suppress(StoreError):
            store.write_bytes(path, made)
        return made

    async def of_upload(self, content: bytes, side: int) -> bytes:
        """The thumbnail of an image that is no file yet, a JPEG. Raises: DataError where it is no image."""
        return await self._made(side, content)

    async def _made(self, side: int, content: bytes = b"", **values: str) -> bytes:
        try:
            given = {"side": side, "limits": asdict(_LIMITS), **values}
            return (await self.children.call("thumbnail", given, content))[1]
        except CallError as error:
            raise DataError(error.reason) from None
        except ChildLostError as error:
            raise DataError(str(error)) from None


def _kept(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # not made yet, or removed with the cache
        return None
