"""Memory, disk and seconds of `data check` and of the first answer of `advise` on many small images.

    python benchmarks/many_images.py --images 10000 100000 --folder /tmp/many

The images are JPEG files of 32 to 64 pixels in ten class folders, made on the spot: each class has its own
colour and stripes, each image its own ground, angle and noise; a hundredth are near copies of others. A size
is measured with a cache of its own, each command as a process; its highest resident memory and what the cache
then takes are read when it has ended. What was made is removed afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10


def jpeg_of(number: int) -> bytes:
    """The image of that number as a JPEG file; every hundredth is the one before it, saved worse."""
    quality = 60 if number % 100 == 99 else 85
    drawn = number - 1 if number % 100 == 99 else number
    rng = np.random.default_rng(drawn)
    side = int(rng.integers(32, 65))
    label = number % CLASSES
    y, x = np.mgrid[0:side, 0:side] / side
    angle, phase = rng.normal(label * np.pi / CLASSES, 0.3), rng.uniform(0, 2 * np.pi)
    stripes = np.sin((4 + label) * (x * np.cos(angle) + y * np.sin(angle)) * 3 + phase)[..., None]
    ground, colour = rng.integers(0, 256, 3), np.array([25 * label, 255 - 20 * label, 128])
    pixels = ground + (0.5 + 0.5 * stripes) * (colour - ground) * 0.6 + rng.normal(0, 20, (side, side, 3))
    content = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=quality)
    return content.getvalue()


def make(folder: Path, images: int) -> None:
    """Write so many files, each into the folder of its class."""

    def write(number: int) -> None:
        home = folder / f"class{number % CLASSES}"
        (home / f"{number:07d}.jpg").write_bytes(jpeg_of(number))

    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(write, range(images), chunksize=100):
            pass


def measure(command: list[str], cache: Path) -> dict[str, float | str]:
    """Run headstart with a cache of its own; what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    code = "import resource, sys\nfrom headstart.cli.app import main\ntry:\n    main()\nfinally:\n    "
    code += "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        env={**os.environ, "HEADSTART_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = done.stderr.splitlines()
    peaks = [int(line.split()[1]) for line in said if line.startswith("PEAK")]
    return {
        "command": " ".join(command[:2]),
        "exit": done.returncode,
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": max(peaks, default=0) / 1024,
        "cache_gb": sum(path.stat().st_size for path in (cache / "pictures").rglob("*") if path.is_file())
        / 1e9,
        "said": "\n".join(
            line for line in said if "decoded at" in line or "first answer" in line or "final" in line
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, required=True, help="Where images and caches lie meanwhile.")
    parser.add_argument("--minutes", default="10", help="Of advise; 0 leaves it out.")
    parser.add_argument("--label-errors", action="store_true", help="Let data check look for them too.")
    options = parser.parse_args()
    weights = Path(os.environ.get("HEADSTART_CACHE", Path.home() / ".cache" / "headstart")) / "weights"
    for images in options.images:
        home = options.folder / str(images)
        cache, photos = home / "cache", home / "photos"
        cache.mkdir(parents=True)
        (cache / "weights").symlink_to(weights)
        try:
            start = time.perf_counter()
            make(photos, images)
            made = {"images": images, "making_seconds": round(time.perf_counter() - start, 1)}
            more = [] if options.label_errors else ["--no-label-errors"]
            check = ["data", "check", str(photos), "--out", str(home / "check"), *more]
            advise = ["advise", str(photos), "--minutes", options.minutes, "--out", str(home / "advice")]
            print(json.dumps({**made, **measure(check, cache)}), flush=True)
            if float(options.minutes):
                shutil.rmtree(cache / "pictures")
                print(json.dumps({"images": images, **measure(advise, cache)}), flush=True)
        finally:
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
