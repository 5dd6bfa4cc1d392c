"""A child process that answers calls on its standard input, one at a time: decoding that can be killed.

A call and its answer are frames: two lengths (8 bytes each, big-endian), JSON, then raw bytes. The parent
reads no pickle, so that a child that an image has taken over can do no more than give a wrong answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from headstart.errors import HeadstartError

Values = dict[str, Any]
Operation = Callable[[Values, bytes], tuple[Values, bytes]]
HEAD = struct.Struct(">QQ")


def frame(values: Values, content: bytes = b"") -> bytes:
    """The head and the JSON of a frame; the content follows it."""
    text = json.dumps(values).encode()
    return HEAD.pack(len(text), len(content)) + text


def answer_calls(operations: Mapping[str, Operation], memory_bytes: int | None = None) -> None:
    """Answer until standard input ends. memory_bytes: of address space, more ends in an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    if memory_bytes is not None:
        _limit_memory(memory_bytes)
    calls = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not look like an answer
    with contextlib.suppress(BrokenPipeError):
        _write(answers, {}, b"")  # it has started
        while head := calls.read(HEAD.size):
            text_length, content_length = HEAD.unpack(head)
            values: Values = json.loads(calls.read(text_length))
            content = calls.read(content_length)
            _write(answers, *_answered(operations[values.pop("operation")], values, content))


def _answered(operation: Operation, values: Values, content: bytes) -> tuple[Values, bytes]:
    try:
        return operation(values, content)
    except HeadstartError as error:
        return {"error": str(error), "reason": getattr(error, "reason", str(error))}, b""
    except MemoryError:
        reason = "it takes more memory than there is for one image"
        return {"error": reason, "reason": reason}, b""


def _write(answers: BinaryIO, values: Values, content: bytes) -> None:
    for part in (frame(values, content), content):
        rest = memoryview(part)
        while rest:
            rest = rest[answers.write(rest) :]


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    except (ImportError, OSError, ValueError):  # another system: the limits on pixels hold alone
        return
