"""A server under load: a process of its own, and clients that send one image a request over kept
connections.

Every server has the same network, a ResNet-50 probe: ours the saved model, the peers what tracing gives of it
with BatchNorm folded, channels last, preprocessing and softmax inside."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import io
import itertools
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import headstart_first  # noqa: F401  (before torch)
import numpy as np
import psutil
import torch
from PIL import Image
from protocol import Run, Unavailable, serve

from headstart import store
from headstart.data import load_dataset
from headstart.predict.export import Exportable
from headstart.predict.predictor import Predictor, load_predictor
from headstart.studies.run import run_study

_HERE = Path(__file__).resolve().parent
_LIMIT = "benchmark"
_IMAGES, _TRAINING, _OWN_RUNS, _WAIT_SECONDS = 64, 300, 30, 120.0


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    folder = Path(config["folder"])
    images = load_dataset("cifar10").test.images[:_IMAGES]
    if not (folder / "probe.pt").exists():
        _make_model(folder, config["pixels"])
    own = _seconds_alone(load_predictor(folder / "model"), images)
    port = _free_port()
    python = config["peers"] if config["server"] in ("litserve", "fastapi") else sys.executable
    process = subprocess.Popen(
        [python, *_command(config["server"], folder, port)],
        stdout=sys.stderr,
        stderr=sys.stderr,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    bodies = [_form(_png(image)) for image in images]
    _wait_for(process, port, bodies[0])

    def run() -> dict[str, Any]:
        with _running(process.pid):
            start = time.perf_counter()
            points = [_load(port, bodies, clients, config["seconds"]) for clients in config["clients"]]
            return {
                "images": sum(point["requests"] for point in points),
                "seconds": time.perf_counter() - start,
                "points": points,
                "bytes": _memory(process.pid),
            }

    atexit.register(_end, process)
    for clients in config["clients"]:
        _load(port, bodies, clients, min(2.0, config["seconds"]))
    _each_process(process.pid, psutil.Process.suspend)
    return run, {"own_seconds": own, "torch": torch.__version__}


def _command(server: str, folder: Path, port: int) -> list[str]:
    if server in ("litserve", "fastapi"):
        return [str(_HERE / f"peer_{server}.py"), str(folder / "probe.pt"), str(port)]
    options = ["--port", str(port), "--max-requests", "128"]
    return ["-m", "headstart.cli", "serve", str(folder / "model"), "--backend", server, *options]


_STUDY = """name = "probe"
dataset = "{images}"
precision = "fp32"
feature_precision = "fp32"
[[arms]]
name = "probe"
model = "resnet50"
weights = "imagenet-keras"
method = "linear_probe"
input_pixels = {pixels}
"""


def _make_model(folder: Path, pixels: int) -> None:
    """folder/model, trained on files: int8 is calibrated on them; and folder/probe.pt for the peers."""
    train = load_dataset("cifar10").train
    for number, (image, label) in enumerate(zip(train.images[:_TRAINING], train.labels, strict=False)):
        path = folder / "images" / train.class_names[label] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(image))
    (folder / "probe.toml").write_text(_STUDY.format(images=folder / "images", pixels=pixels))
    (trial,) = store.finished_trials(run_study(folder / "probe.toml", folder / "runs"))
    (folder / "model").symlink_to(trial.folder)
    network = load_predictor(folder / "model").network().frozen_copy().eval()
    network = network.to(memory_format=torch.channels_last)
    image = torch.zeros((2, *train.images.shape[1:]), dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.freeze(torch.jit.trace(Exportable(network).eval(), image))
    torch.jit.save(traced, str(folder / "probe.pt"))


def _seconds_alone(predictor: Predictor, images: np.ndarray) -> float:
    """The median time of one image through the model, nothing else running."""
    seconds = []
    for image in itertools.islice(itertools.cycle(images), _OWN_RUNS + 5):
        start = time.perf_counter()
        predictor.probabilities(np.array(image[None]))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[5:])


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _form(content: bytes) -> bytes:
    head = f'--{_LIMIT}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    return head.encode() + b"Content-Type: image/png\r\n\r\n" + content + f"\r\n--{_LIMIT}--\r\n".encode()


def _send(connection: http.client.HTTPConnection, body: bytes) -> int:
    connection.request("POST", "/predict", body, {"Content-Type": f"multipart/form-data; boundary={_LIMIT}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _load(port: int, bodies: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """Latencies in seconds of every request that ended within so many seconds; errors: answers that are not
    200."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    errors = [0] * clients
    until = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for body in itertools.cycle(bodies[number % len(bodies) :] + bodies[: number % len(bodies)]):
            start = time.perf_counter()
            if start >= until:
                break
            try:
                status = _send(connection, body)
            except (OSError, http.client.HTTPException):
                connection.close()
                status = 0
            errors[number] += status != 200
            latencies[number].append(time.perf_counter() - start)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = sorted(each for own in latencies for each in own)
    return {
        "clients": clients,
        "requests": len(taken),
        "errors": sum(errors),
        "per_second": (len(taken) - sum(errors)) / (time.perf_counter() - start),
        "p50": taken[len(taken) // 2],
        "p99": taken[min(len(taken) - 1, int(0.99 * len(taken)))],
    }


@contextlib.contextmanager
def _running(pid: int) -> Iterator[None]:
    """A server runs while the block does, and is suspended after it: an idle server that polls would take
    from the others' time."""
    _each_process(pid, psutil.Process.resume)
    try:
        yield
    finally:
        _each_process(pid, psutil.Process.suspend)


def _memory(pid: int) -> int:
    """Bytes of a process and its children; what they share counts once (PSS)."""
    counts: list[int] = []
    _each_process(pid, lambda process: counts.append(process.memory_full_info().pss))
    return sum(counts)


def _each_process(pid: int, do: Callable[[psutil.Process], Any]) -> None:
    """Something for a process and all its children; those that have ended are passed over."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            do(each)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_for(process: subprocess.Popen[bytes], port: int, body: bytes) -> None:
    """Raises: Unavailable where the server ends or does not answer."""
    until = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Unavailable(f"the server ended with exit code {process.returncode}; see the log")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            if _send(connection, body) == 200:
                return
        time.sleep(0.2)
    _end(process)
    raise Unavailable(f"the server did not answer within {_WAIT_SECONDS:.0f} s; see the log")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.Error):
        _each_process(process.pid, psutil.Process.kill)
    process.kill()


if __name__ == "__main__":
    serve(prepare)
