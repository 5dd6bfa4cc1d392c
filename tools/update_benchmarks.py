"""Write docs/benchmarks.md from the newest result of each section in benchmarks/results.

Nothing on that page is written by hand.

Usage: python tools/update_benchmarks.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
_ORDER = ("train", "tutorial", "features", "linear", "int8", "head", "memory", "threads", "busy")

_INTRO = """# Speed, side by side

What `make bench` measures: contenders take turns in one sitting, each in a process of its own, and a ratio is
the median of the ratios round by round, so that a drift of the machine's speed cancels. Peers (plain PyTorch,
Keras, fastai, scikit-learn) have an environment of their own. Precision is what the processor multiplies in
hardware; what is promised for bfloat16 alone is told, and not judged, on one that has none. The load before
is the machine's mean over a minute: above 0.5 other work may have taken part, but for a section that came
after others in one run, where it is theirs. On a GPU: benchmarks/results/gpu.json, told in the README.
"""


def newest(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """The newest result of each section, as (file name, content)."""
    newest_files: dict[str, tuple[tuple[str, int], str]] = {}
    for path in folder.glob("*.json"):
        if match := re.fullmatch(r"(\d{4}-\d\d-\d\d)-([a-z0-9]+?)(?:-(\d+))?\.json", path.name):
            date, section, number = match[1], match[2], int(match[3] or 1)
            newest_files[section] = max(newest_files.get(section, (("", 0), "")), ((date, number), path.name))
    return {
        section: (name, json.loads((folder / name).read_text()))
        for section, (_, name) in newest_files.items()
    }


def page(folder: Path) -> str:
    """The page as Markdown."""
    results = newest(folder)
    if unknown := results.keys() - set(_ORDER):
        raise ValueError(f"no place on the page for {', '.join(sorted(unknown))}; add it to _ORDER")
    parts = [_INTRO]
    for section in (name for name in _ORDER if name in results):
        name, content = results[section]
        heading, table, *targets = content["text"].split("\n\n")
        about = content["environment"]
        parts += [heading, table]
        parts += [
            "\n".join("- **{}** {}".format(*line.strip().split(maxsplit=1)) for line in text.splitlines())
            for text in targets
        ]
        cores = "1 core" if about["cores"] == 1 else f"{about['cores']} cores"
        parts.append(
            f"{about['processor']}, {cores}, {about['native_precision']}, load before "
            f"{about['load_before']:.1f}; {content['date']}; `python {about['command']}`, "
            f"benchmarks/results/{name}."
        )
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(RESULTS))
