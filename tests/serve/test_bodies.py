"""Bodies that end early or contradict themselves are refused in one line."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence

import pytest

pytest.importorskip("fastapi")
from starlette.requests import Request
from starlette.types import Message

from headstart.serve.bodies import Wishes, read_body
from headstart.serve.refusal import Refused

FORM = b"""--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nbytes\r\n"""


def refusal(kind: str, messages: Sequence[Message]) -> Refused:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b""}
    request = Request(scope | {"headers": [(b"content-type", kind.encode())]}, receive)
    with pytest.raises(Refused) as refused:
        asyncio.run(read_body(request, Wishes(), 4))
    return refused.value


@pytest.mark.parametrize("kind", ["image/png", "application/json"])
def test_a_client_that_goes_is_no_fault_of_the_server(kind: str) -> None:
    began: Message = {"type": "http.request", "body": b"ab", "more_body": True}
    assert refusal(kind, [began, {"type": "http.disconnect"}]).status == 400


def test_a_field_is_given_once() -> None:
    fields = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="top"\r\n\r\n%d\r\n' % top for top in (1, 2)
    )
    body: Message = {"type": "http.request", "body": FORM + fields + b"--x--\r\n", "more_body": False}
    refused = refusal("multipart/form-data; boundary=x", [body])
    assert refused.status == 400 and "top is given twice, and differently" in refused.line


def test_a_full_disk_is_not_the_clients_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", full)
    body: Message = {"type": "http.request", "body": FORM + b"--x--\r\n", "more_body": False}
    refused = refusal("multipart/form-data; boundary=x", [body])
    assert (refused.status, refused.headers) == (503, {"Retry-After": "1"})
    assert "the disk for temporary files takes no more (No space left on device)" in refused.line


@pytest.mark.parametrize("value", [b"{}", b'""', b"[]", b'{"data": ""}', b"0"])
def test_many_small_values_are_refused_before_they_are_parsed(
    value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.serve.bodies._JsonBody", None)
    content = b'{"images": [' + (value + b",") * 100_000 + value + b"]}"
    refused = refusal("application/json", [{"type": "http.request", "body": content, "more_body": False}])
    assert refused.status == 413 and "more values than 4 images have" in refused.line
