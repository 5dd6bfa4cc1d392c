"""Small versions of images: made when first asked for, in processes that can be killed, kept in the cache."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from headstart import store
from headstart.app.listing import Listed
from headstart.data.folders.decode import Limits
from headstart.errors import DataError
from headstart.runtime.cores import usable_cores
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

    async def path(self, image: Listed, side: int) -> Path:
        """The file of an image's thumbnail, a JPEG. Raises: DataError where the file gives no image."""
        try:
            facts = os.stat(image.path)
        except OSError as error:
            raise DataError(f"the file cannot be read ({error.strerror})") from error
        key = store.digest([_SCHEMA, image.path, facts.st_size, facts.st_mtime_ns, side])
        path = store.cache_folder() / "thumbnails" / key[:2] / f"{key[2:34]}.jpg"
        if not path.exists():
            store.write_bytes(path, await self._made(side, path=image.path, root=image.root))
        return path

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
