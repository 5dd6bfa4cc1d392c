"""Writes the locks: every package that `make` installs, with its version and the SHA-256 of its files.

    python tools/lock.py

pyproject.toml says what is needed and constraints-gpu.txt which version; uv resolves both for Linux, macOS
and Windows and every Python that the project names. `locks/study.txt` and `locks/all.txt` hold all but torch;
`locks/torch-gpu.txt` holds the registry's build of torch with the CUDA packages that it needs. The file
`locks/torch-cpu.txt` is kept by hand: a registry lists no CPU build (docs/decisions/0035-hashed-locks.md).
What is installed from these files needs no resolving: pip takes exactly them, or refuses.
"""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
# What `make study` and the image of the Dockerfile install, and what tests and documentation install.
EXTRAS = {"study": ("app", "explain", "int8"), "all": ("all", "dev")}
TORCH = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)\Z")
PYTHONS = ("3.11.0", "3.12.0", "3.13.0")
PLATFORMS = ("linux", "darwin", "win32")
HEADER = "# Made by tools/lock.py: {about}.\n"
ABOUT = {
    "study": "what a study, the app and the server need, but torch",
    "all": "what tests, notebooks, documentation and every extra need, but torch",
    "torch-gpu": "the registry's build of torch (on Linux with CUDA), and what it alone needs",
}


def main() -> int:
    LOCKS.mkdir(exist_ok=True)
    for name, extras in EXTRAS.items():
        requirements = [entry for entry in _resolved(extras) if _is_of_use(entry)]
        _write(name, [entry for entry in requirements if not TORCH.match(Requirement(_line(entry)).name)])
    _write("torch-gpu", [entry for entry in requirements if TORCH.match(Requirement(_line(entry)).name)])
    return 0


def _resolved(extras: tuple[str, ...]) -> list[str]:
    """The requirements, each with its lines of hashes."""
    words = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal"]
    words += ["--python-version", PYTHONS[0], "--generate-hashes", "--no-annotate", "--no-header"]
    words += ["--constraint", "constraints-gpu.txt", *(f"--extra={extra}" for extra in extras)]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    return re.findall(r"^\S.*\n(?:    .*\n)+", done.stdout, re.MULTILINE)


def _line(entry: str) -> str:
    return entry.partition("\\")[0].strip()


def _is_of_use(entry: str) -> bool:
    """Whether any Python and system that the project names needs it."""
    marker = Requirement(_line(entry)).marker
    if marker is None:
        return True
    systems = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
    machines = {"linux": ("x86_64", "aarch64"), "darwin": ("arm64",), "win32": ("AMD64",)}
    return any(
        marker.evaluate(
            {
                "python_full_version": python,
                "python_version": python.rpartition(".")[0],
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
                "sys_platform": platform,
                "platform_system": systems[platform],
                "platform_machine": machine,
            }
        )
        for python, platform in product(PYTHONS, PLATFORMS)
        for machine in machines[platform]
    )


def _write(name: str, requirements: list[str]) -> None:
    text = HEADER.format(about=ABOUT[name]) + "".join(requirements)
    (LOCKS / f"{name}.txt").write_text(text, encoding="utf-8")
    print(f"locks/{name}.txt: {len(requirements)} packages")


if __name__ == "__main__":
    sys.exit(main())
