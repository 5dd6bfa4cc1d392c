"""What several commands print."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

NARROW = 76  # columns: below, a summary shows less
console = Console(highlight=False, markup=False, emoji=False)


def typed_command(without: str = "") -> str:
    """The command line as it was typed. without: an option with a value that is left out."""
    words = [word for word in sys.argv[1:] if not without or not word.startswith(f"{without}=")]
    if without in words:
        place = words.index(without)
        words = words[:place] + words[place + 2 :]
    return shlex.join(["headstart", *words])


def render(folder: Path) -> None:
    """Writes a study's report, where another one is there; prints its summary, the answer, and where the
    report lies."""
    from headstart.plots import visible
    from headstart.report import keep_report, summary_table, verdict

    page = keep_report(folder)
    console.print()
    console.print(summary_table(folder, narrow=console.width < NARROW))
    console.print()
    console.print(Text(visible(verdict(folder))), soft_wrap=True)
    console.print(Text(f"report: {page.resolve()}"), soft_wrap=True)
