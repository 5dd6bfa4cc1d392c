"""A real server answers as `headstart predict` does, refuses bad requests in one line, and drains."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from tests.support.models_study import run_models
from tests.support.running_server import RunningServer, form, running_server
from typer.testing import CliRunner

pytest.importorskip("fastapi")
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_models(tmp_path_factory.mktemp("served"), photos, "fp32", ("cnn", "knn"))


@pytest.fixture(scope="module")
def server(study: Path) -> Iterator[RunningServer]:
    """Its last test ends it."""
    limits = ("--max-body-mb", "2", "--max-images", "6", "--max-batch", "8", "--max-wait-ms", "20")
    with running_server(str(study), "--arm", "cnn", "--arm", "knn", *limits, cwd=study) as running:
        yield running


@pytest.fixture(scope="module")
def files(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))


def predicted(study: Path, files: list[Path], *options: str, arm: str = "cnn") -> list[Any]:
    """What the command line prints of files."""
    from headstart.cli.app import app

    arguments = ["predict", str(study), *map(str, files), "--arm", arm, "--json", *options]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return [json.loads(line)["predictions"] for line in done.stdout.splitlines()]


# ---------------------------------------------------------------- equal to predict


def test_one_image_gets_the_bits_that_predict_gives(
    server: RunningServer, study: Path, files: list[Path]
) -> None:
    expected = predicted(study, files[:3], "--top", "3", "--batch-size", "1")
    for path, predictions in zip(files[:3], expected, strict=True):
        status, answer = server.json("/predict?top=3", path.read_bytes())
        assert status == 200
        assert answer == {"model": "cnn", "images": [{"name": None, "predictions": predictions}]}


def test_images_in_one_form_or_json_get_the_bits_of_one_batch(
    server: RunningServer, study: Path, files: list[Path]
) -> None:
    chosen = [files[0], files[50], files[100], files[7], files[60]]
    expected = predicted(study, chosen, "--top", "2", "--batch-size", "5")
    body, headers = form(*(("images", path.name, path.read_bytes()) for path in chosen), ("top", None, b"2"))
    status, answer = server.json("/predict", body, headers)
    assert status == 200
    assert [image["predictions"] for image in answer["images"]] == expected
    assert [image["name"] for image in answer["images"]] == [path.name for path in chosen]
    texts = [base64.b64encode(path.read_bytes()).decode() for path in chosen]
    sent = {"images": [{"data": texts[0], "name": "ü.png"}, *texts[1:]], "top": 2}
    status, answer = server.json("/predict", json.dumps(sent), {"Content-Type": "application/json"})
    assert status == 200
    assert [image["predictions"] for image in answer["images"]] == expected
    assert [image["name"] for image in answer["images"]] == ["ü.png", None, None, None, None]


def test_a_request_chooses_its_model(server: RunningServer, study: Path, files: list[Path]) -> None:
    expected = predicted(study, files[:1], "--batch-size", "1", arm="knn")
    status, answer = server.json("/predict?model=knn", files[0].read_bytes())
    assert (status, answer["model"], [answer["images"][0]["predictions"]]) == (200, "knn", expected)
    status, answer = server.json("/models")
    assert [(model["name"], model["classes"]) for model in answer["models"]] == [
        ("cnn", ["airplane", "dog", "truck"]),
        ("knn", ["airplane", "dog", "truck"]),
    ]


def test_eight_clients_at_once_get_the_answers_to_their_own_images(
    server: RunningServer, study: Path, files: list[Path]
) -> None:
    expected = predicted(study, files[:48], "--top", "3", "--batch-size", "1")

    def ask(number: int) -> dict[str, float]:
        status, answer = server.json("/predict?top=3", files[number].read_bytes())
        assert status == 200
        return {row["class"]: row["probability"] for row in answer["images"][0]["predictions"]}

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(ask, range(48)))
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer == pytest.approx({row["class"]: row["probability"] for row in wanted}, abs=1e-5)


# ---------------------------------------------------------------- the other addresses


def test_an_explanation_is_a_picture_or_one_line(server: RunningServer, files: list[Path]) -> None:
    pytest.importorskip("captum")
    status, headers, content = server.ask("/explain?class=dog", files[0].read_bytes())
    assert (status, headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(content)).size == (1814, 662)
    status, answer = server.json("/explain?model=knn", files[0].read_bytes())
    assert status == 422 and "is no network to export or explain" in answer["error"]
    status, answer = server.json("/explain?class=cat", files[0].read_bytes())
    assert (status, answer["error"]) == (
        400,
        "there is no class 'cat'; choose from 'airplane', 'dog', 'truck'",
    )


def test_it_says_how_it_is(server: RunningServer, files: list[Path]) -> None:
    assert server.json("/healthz") == (200, {"status": "ok"})
    assert server.json("/readyz") == (200, {"status": "ready"})
    server.ask("/predict", files[0].read_bytes())
    status, headers, content = server.ask("/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    text = content.decode()
    assert re.search(r'^headstart_requests_total\{path="/predict",status="200"\} \d', text, flags=re.M)
    assert re.search(r'^headstart_batch_images_count\{model="cnn"\} \d', text, flags=re.M)


def test_its_description_names_every_address(server: RunningServer) -> None:
    status, description = server.json("/openapi.json")
    assert status == 200
    paths = {"/predict", "/explain", "/models", "/healthz", "/readyz", "/metrics"}
    assert set(description["paths"]) == paths
    assert set(description["paths"]["/predict"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "application/octet-stream",
    }


# ---------------------------------------------------------------- bad requests


def _bomb(side: int) -> bytes:
    """A PNG of side x side black pixels: a few bytes for a thousand times as many."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../a.png", b"x")
    return content.getvalue()


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=limit"}


@pytest.mark.parametrize(
    ("status", "line", "body", "headers"),
    [
        (422, "the image cannot be read (the file is empty)", b"", {}),
        (422, "the image cannot be read (text, not an image)", b"hello, world\n" * 9, {}),
        (422, "the image cannot be read (", _zip(), {}),
        (422, "at most 50,000,000 are decoded", _bomb(8000), {}),
        (422, "the image cannot be read", b"\x89PNG\r\n\x1a\n" + bytes(500), {}),
        (413, "more than 2,000,000 bytes", bytes(2_000_001), {}),
        (413, "more than 2,000,000 bytes", iter([bytes(1_000_000)] * 3), {}),
        (415, "compressed bodies are not read", b"x", {"Content-Encoding": "gzip"}),
        (400, "the JSON is not as expected", b"{", JSON),
        (400, "the JSON is not as expected", b"[" * 100_000, JSON),
        (400, "'images': Field required", b"{}", JSON),
        (400, "Extra inputs are not permitted", b'{"images": ["aaaa"], "tops": 1}', JSON),
        (400, "image 1 is not base64", b'{"images": ["$$"]}', JSON),
        (413, "7 images in one request; at most 6", b'{"images": ["a"' + b', "a"' * 6 + b"]}", JSON),
        (413, "more than 6 images in one request", *form(*[("images", "a.png", b"a")] * 7)),
        (400, "the form cannot be read", b"--limi\r\nnothing", FORM),
        (400, "the form holds no file", b"--limit--\r\n", FORM),
        (400, "the form cannot be read", b"x", {"Content-Type": "multipart/form-data"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_body_is_refused_in_one_line(
    status: int, line: str, body: Any, headers: dict[str, str], server: RunningServer
) -> None:
    for path in ("/predict", "/explain") if isinstance(body, bytes) else ("/predict",):
        answered, answer = server.json(path, body, headers)
        assert answered == status, answer
        assert list(answer) == ["error"] and line in answer["error"] and "\n" not in answer["error"]


def test_a_truncated_image_is_named_with_its_place(server: RunningServer, files: list[Path]) -> None:
    whole = files[0].read_bytes()
    for name, told in (("b.png", "'b.png'"), ("a\x1b[31m\u202e.png", "'a\\\\x1b[31m\\\\u202e.png'")):
        body, headers = form(("images", "a.png", whole), ("images", name, whole[: len(whole) // 2]))
        status, answer = server.json("/predict", body, headers)
        assert status == 422 and answer["error"].startswith(f"image 2 of 2, {told}, cannot be read (")


@pytest.mark.parametrize(
    ("status", "line", "path", "headers"),
    [
        (400, "'query top': Input should be greater than or equal to 1", "/predict?top=0", {}),
        (400, "'query tops': Extra inputs are not permitted", "/predict?tops=1", {}),
        (404, "there is no model 'x'; choose from 'cnn', 'knn'", "/predict?model=x", {}),
        (400, "'top' is given twice, and differently; give it once", "/predict?top=1&top=2", {}),
        (400, "class belongs to /explain", "/predict?class=dog", {}),
        (404, "there is nothing at this address", "/predictions", {}),
        (405, "'POST' is not answered here", "/models", {}),
        (400, "does not answer under that host name", "/predict", {"Host": "evil.example"}),
        (403, "pages of other sites", "/predict", {"Origin": "http://evil.example"}),
    ],
)
def test_a_bad_request_is_refused_in_one_line(
    status: int, line: str, path: str, headers: dict[str, str], server: RunningServer, files: list[Path]
) -> None:
    answered, answer = server.json(path, files[0].read_bytes(), headers)
    assert answered == status and line in answer["error"]


def test_a_huge_declared_size_is_refused_before_anything_is_sent(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_no_damaged_body_makes_the_server_fail(server: RunningServer, files: list[Path]) -> None:
    rng = random.Random(0)
    image = files[0].read_bytes()
    bodies = (
        (image, {}),
        form(("images", "a.png", image), ("top", None, b"2")),
        (json.dumps({"images": [base64.b64encode(image).decode()], "top": 2}).encode(), JSON),
    )
    statuses = set()
    for _ in range(150):
        body, headers = rng.choice(bodies)
        damaged = bytearray(body)
        for _ in range(rng.randrange(5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)) :]
        statuses.add(server.ask("/predict", bytes(damaged), headers)[0])
    assert statuses == {200, 400, 422}


# ---------------------------------------------------------------- what the page shows


@pytest.fixture
def pictures(tmp_path: Path, files: list[Path]) -> Path:
    Image.open(files[0]).save(tmp_path / "photo.jpg")
    shutil.copyfile(files[50], tmp_path / "another.png")
    return tmp_path


@pytest.mark.parametrize("command", re.findall(r"^curl .*$", PAGE, flags=re.M))
def test_every_shown_request_of_curl_is_answered(command: str, server: RunningServer, pictures: Path) -> None:
    assert shutil.which("curl"), "install curl (Debian: apt-get install curl)"
    command = command.replace("curl ", "curl --fail --silent --show-error ", 1)
    command = command.replace("http://127.0.0.1:8000", server.address)
    done = subprocess.run(command, shell=True, cwd=pictures, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "/explain" in command:
        Image.open(pictures / "explained.png").verify()
    else:
        assert json.loads(done.stdout)


def test_the_shown_python_client_is_answered(server: RunningServer, pictures: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    code = code.replace("http://127.0.0.1:8000", server.address)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=pictures, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["photo.jpg", "another.png"]


@pytest.mark.parametrize("command", re.findall(r"^headstart (serve .*)$", PAGE, flags=re.M))
def test_every_shown_server_is_one_that_the_command_line_takes(command: str) -> None:
    import typer.main

    from headstart.cli.app import app

    words = command.split()
    typer.main.get_command(app).commands[words[0]].make_context("serve", words[1:])  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the end; it stands last


def test_a_killed_decoder_fails_one_request(server: RunningServer, files: list[Path]) -> None:
    content = files[0].read_bytes()
    assert server.ask("/predict", content)[0] == 200
    decoders = [each for each in psutil.Process(server.process.pid).children() if each.is_running()]
    for decoder in decoders:
        decoder.suspend()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.json, "/predict", content)
        time.sleep(0.3)
        for decoder in decoders:
            decoder.kill()
        status, answer = waiting.result()
    assert status == 503 and "could not be decoded" in answer["error"]
    psutil.wait_procs(decoders, timeout=10)  # another of them, still dying, would fail a request of its own
    assert server.ask("/predict", content)[0] == 200


def test_sigterm_lets_a_request_that_is_on_its_way_be_answered(
    server: RunningServer, files: list[Path]
) -> None:
    content = files[0].read_bytes()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        client.sendall(head.encode() + content[:100])
        while b"headstart_requests_in_flight 2.0" not in server.ask("/metrics")[2]:
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        while True:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            except OSError:
                break
            time.sleep(0.02)
        client.sendall(content[100:])
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"predictions"' in answer
    _, errors = server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    assert errors == "stopped; every request that had come is answered\n"
