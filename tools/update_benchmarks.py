"""Write docs/benchmarks.md from the newest result of each section in benchmarks/results.

Nothing on that page is written by hand.

Usage: python tools/update_benchmarks.py
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from summary import KINDS  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
_FIRST_KIND = "AVX2"  # of the results from before the kind was written down
_ORDER = (
    "train",
    "tutorial",
    "features",
    "linear",
    "int8",
    "head",
    "memory",
    "threads",
    "busy",
    "start",
    "serving",
    "cluster",
)

_INTRO = """# Speed, side by side

What `make bench` measures: contenders take turns in one sitting, each in a process of its own, and a ratio is
the median of the ratios round by round, so that a drift of the machine's speed cancels; its interval is of
that median. Peers (PyTorch, Keras, fastai, scikit-learn, LitServe) have an environment of their own. Where a
section was measured on several kinds of processors (AMX, AVX512-BF16, AVX512, AVX2), each keeps its newest
table. Precision is what the processor multiplies in hardware; what is promised for bfloat16 alone is
stated, and not judged, on one that has none. The load before is the machine's mean over a minute: above 0.5
other work may have taken part, but for a section that came after others in one run, where those made it. On a
GPU: [all images](questions/how-accurate-with-all-images.md).
"""


def newest(folder: Path) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """The newest result of each section on each kind of processor, as (file name, content)."""
    found: dict[tuple[str, str], tuple[tuple[str, int], str, dict[str, Any]]] = {}
    for path in folder.glob("*.json"):
        if match := re.fullmatch(r"(\d{4}-\d\d-\d\d)-([a-z0-9]+?)(?:-(\d+))?\.json", path.name):
            content = json.loads(path.read_text())
            key = match[2], content.get("environment", {}).get("kind", _FIRST_KIND)
            age = match[1], int(match[3] or 1)
            if key not in found or age > found[key][0]:
                found[key] = age, path.name, content
    return {key: (name, content) for key, (_, name, content) in found.items()}


def page(folder: Path) -> str:
    """The page as Markdown: a section once for each kind of processor that it was measured on."""
    results = newest(folder)
    if unknown := {section for section, _ in results} - set(_ORDER):
        raise ValueError(f"no place on the page for {', '.join(sorted(unknown))}; add it to _ORDER")
    parts = [_INTRO]
    places = [*KINDS, "other"]
    for section in _ORDER:
        kinds = sorted((kind for name, kind in results if name == section), key=places.index)
        for number, kind in enumerate(kinds):
            parts += _measured(kind, *results[section, kind], is_first=not number)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _measured(kind: str, name: str, content: dict[str, Any], *, is_first: bool) -> list[str]:
    """What one kind of processor gave, in paragraphs; the section's heading before the first."""
    heading, table, *targets = content["text"].split("\n\n")
    about = content["environment"]
    cores = "1 core" if about["cores"] == 1 else f"{about['cores']} cores"
    return [
        *([heading] if is_first else []),
        f"### {kind}",
        table,
        *(
            "\n".join(
                "- **{}** {}".format(*line.strip().split(maxsplit=1))
                for line in text.replace("  told  ", "stated  ").splitlines()  # as older results have it
            )
            for text in targets
        ),
        f"{about['processor']}, {cores}, {about['native_precision']}, load before "
        f"{about['load_before']:.1f}; {content['date']}; `python {about['command']}`, "
        f"benchmarks/results/{name}.",
    ]


if __name__ == "__main__":
    PAGE.write_text(page(RESULTS))
