"""Reports code that nothing uses: vulture over the program, its tools and benchmarks, not over its tests.

What only a test calls is dead. What templates read counts as used, and what a string names to be imported on
first use; what a library calls or reads by name is listed in pyproject.toml ([tool.vulture] ignore_names).
The exit status is 3 where something is dead.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jinja2
from jinja2 import nodes
from vulture.config import make_config
from vulture.core import Vulture

ROOT = Path(__file__).parents[1]


def names_in_templates() -> Iterator[str]:
    """Every name and attribute that a template reads."""
    environment = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
    for path in sorted((ROOT / "src").rglob("templates/*.html")):
        for node in environment.parse(path.read_text(encoding="utf-8")).find_all((nodes.Name, nodes.Getattr)):
            yield node.attr if isinstance(node, nodes.Getattr) else node.name


def names_in_strings() -> Iterator[str]:
    """Every name that the code refers to as "headstart.module:NAME", to import it on first use."""
    for path in (*(ROOT / "src").rglob("*.py"), ROOT / "pyproject.toml"):
        yield from re.findall(r'"headstart[\w.]*:(\w+)"', path.read_text(encoding="utf-8"))


def main() -> int:
    config = make_config(["--config", str(ROOT / "pyproject.toml")])
    finder = Vulture(ignore_names=config["ignore_names"], ignore_decorators=config["ignore_decorators"])
    elsewhere = sorted({*names_in_templates(), *names_in_strings()})
    finder.scan("\n".join(f"_.{name}" for name in elsewhere), filename="read elsewhere")
    finder.scavenge([str(ROOT / path) for path in config["paths"]])
    return int(finder.report(min_confidence=config["min_confidence"]))


if __name__ == "__main__":
    sys.exit(main())
