"""What several commands print."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

NARROW = 76  # columns: below, a summary shows less
console = Console(highlight=False, markup=False, emoji=False)


def typed_command(without: Sequence[str] = ()) -> str:
    """The command line as it was typed. without: options with a value that are left out."""
    words: list[str] = []
    left_out = False
    for word in sys.argv[1:]:
        name, sign, _ = word.partition("=")
        if not left_out and name not in without:
            words.append(word)
        left_out = not left_out and name in without and not sign  # then the next word is its value
    return shlex.join(["headstart", *words])


def render(folder: Path) -> None:
    """Writes a study's report, where another one is there; prints its summary, the answer, and where the
    report lies."""
    from headstart.plots import visible
    from headstart.report import closing, keep_report, summary_table, verdict

    page = keep_report(folder)
    console.print()
    console.print(summary_table(folder, narrow=console.width < NARROW))
    console.print()
    console.print(Text(visible(verdict(folder))), soft_wrap=True)
    if said := closing(folder):
        console.print(Text(visible(said)), soft_wrap=True)
    console.print(Text(f"report: {page.resolve()}"), soft_wrap=True)
