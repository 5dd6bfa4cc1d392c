"""Child processes that decode: killed ones fail one call, slow ones are killed, the next call is answered."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.folders.decode import DEFAULT_LIMITS, decode_image
from headstart.serve.children import CallError, ChildLostError, Children
from headstart.types import DEFAULT_READING

MODULE = "headstart.serve.decoding"
VALUES = {"limits": asdict(DEFAULT_LIMITS), "reading": asdict(DEFAULT_READING)}


def png(side: int = 8) -> bytes:
    out = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def pids(children: Children) -> list[int]:
    return [process.pid for process in children._all]


def in_loop(work: Any) -> Any:
    """What work(children) gives, in an event loop of its own with children that are killed at the end."""

    async def run() -> Any:
        children = Children(MODULE, 1, 20)
        try:
            return await work(children)
        finally:
            await children.close()

    return asyncio.run(run())


def test_pixels_are_those_that_this_process_decodes() -> None:
    async def work(children: Children) -> Any:
        return await children.call("pixels", VALUES, png())

    values, content = in_loop(work)
    assert values == {"shape": [8, 8, 3]}
    assert content == decode_image(png()).tobytes()


def test_what_is_no_image_is_refused_and_the_process_goes_on() -> None:
    async def work(children: Children) -> Any:
        with pytest.raises(CallError) as raised:
            await children.call("pixels", VALUES, b"no image")
        before = pids(children)
        await children.call("pixels", VALUES, png())
        assert pids(children) == before
        return raised.value.reason

    assert in_loop(work) == "text, not an image"


def test_a_killed_process_fails_one_call_and_a_stuck_one_is_killed() -> None:
    async def work(children: Children) -> None:
        await children.start()
        (pid,) = pids(children)
        os.kill(pid, signal.SIGSTOP)
        waiting = asyncio.create_task(children.call("pixels", VALUES, png()))
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ChildLostError, match="ended early"):
            await waiting
        assert (await children.call("pixels", VALUES, png()))[0]["shape"] == [8, 8, 3]
        children._seconds = 0.1
        os.kill(*pids(children), signal.SIGSTOP)
        with pytest.raises(ChildLostError, match=r"took over 0\.1 s"):
            await children.call("pixels", VALUES, png())
        assert pids(children) == []

    in_loop(work)


def test_a_cancelled_call_does_not_answer_the_next_one() -> None:
    async def work(children: Children) -> Any:
        await children.start()
        os.kill(*pids(children), signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(children.call("thumbnail", VALUES | {"side": 4}, png()), 0.05)
        return (await children.call("pixels", VALUES, png()))[0]

    assert in_loop(work) == {"shape": [8, 8, 3]}


def test_a_path_outside_the_opened_folder_is_refused_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "opened").mkdir()
    (tmp_path / "opened/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "opened/inner.png").write_bytes(png())

    async def work(children: Children) -> None:
        root = str(tmp_path / "opened")
        await children.call("pixels", VALUES | {"path": f"{root}/inner.png", "root": root})
        for path in (f"{root}/link.png", f"{root}/../secret.png", str(tmp_path / "secret.png")):
            with pytest.raises(CallError, match="lies outside the opened folder"):
                await children.call("pixels", VALUES | {"path": path, "root": root})

    in_loop(work)


def test_a_process_that_cannot_be_started_fails_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def work(children: Children) -> Any:
        with monkeypatch.context() as patched, pytest.raises(ChildLostError, match="Too many open files"):
            patched.setattr(asyncio, "create_subprocess_exec", refuse)
            await children.call("pixels", VALUES, png())
        return await children.call("pixels", VALUES, png())

    assert in_loop(work)[0] == {"shape": [8, 8, 3]}
