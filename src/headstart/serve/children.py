"""Calls to child processes: one that takes too long is killed with its process, and fails alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque

from headstart.serve.child import HEAD, Values, frame

_START_SECONDS = 120.0  # for a process to import what it needs, on a busy machine


class CallError(Exception):
    """A call that the child answered with an error: one line, and the reason alone."""

    def __init__(self, line: str, reason: str) -> None:
        super().__init__(line)
        self.reason = reason


class ChildLostError(Exception):
    """A call whose process was killed, ended by itself, or took too long and was killed."""


class Children:
    """Up to `count` processes that run `module`, started when first needed; each answers a call at a time.

    A call waits for a free process that has started; from then, it may take `seconds`. Used in one event
    loop."""

    def __init__(self, module: str, count: int, seconds: float) -> None:
        self._module, self._seconds = module, seconds
        self._free = asyncio.Semaphore(count)
        self._idle: deque[Process] = deque()
        self._all: set[Process] = set()

    async def call(self, operation: str, values: Values, content: bytes = b"") -> tuple[Values, bytes]:
        """What an operation of the module answers. Raises: CallError; ChildLostError."""
        async with self._free:
            process = await self._process()
            try:
                answer = await asyncio.wait_for(
                    _ask(process, {"operation": operation, **values}, content), self._seconds
                )
            except (TimeoutError, OSError, EOFError, asyncio.IncompleteReadError) as error:
                await self._end(process)
                why = f"took over {self._seconds:g} s" if isinstance(error, TimeoutError) else "ended early"
                raise ChildLostError(f"the process for it {why}") from error
            except BaseException:  # cancelled: the answer would be taken for the next call's
                await self._end(process)
                raise
            self._idle.append(process)
        if "error" in answer[0]:
            raise CallError(answer[0]["error"], answer[0]["reason"])
        return answer

    async def start(self) -> None:
        """Start a process, so that the first call need not wait for it. Raises: ChildLostError."""
        async with self._free:
            self._idle.append(await self._process())

    async def close(self) -> None:
        """Kill all processes."""
        for process in list(self._all):
            await self._end(process)
        self._idle.clear()

    async def _process(self) -> Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            await self._end(process)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, stdin=PIPE, stdout=PIPE, limit=1 << 20
            )
        except OSError as error:  # too many open files or processes
            raise ChildLostError(f"its process could not be started ({error.strerror})") from error
        self._all.add(process)
        try:
            await asyncio.wait_for(_answer(process), _START_SECONDS)
        except (TimeoutError, OSError, EOFError, asyncio.IncompleteReadError) as error:
            await self._end(process)
            raise ChildLostError("its process did not start") from error
        except BaseException:
            await self._end(process)
            raise
        return process

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(OSError):
                await process.stdin.wait_closed()
        await process.wait()


async def _ask(process: Process, values: Values, content: bytes) -> tuple[Values, bytes]:
    assert process.stdin is not None
    process.stdin.write(frame(values, content))
    process.stdin.write(content)
    await process.stdin.drain()
    return await _answer(process)


async def _answer(process: Process) -> tuple[Values, bytes]:
    assert process.stdout is not None
    text_length, content_length = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
    answer: Values = json.loads(await process.stdout.readexactly(text_length))
    return answer, await process.stdout.readexactly(content_length)
