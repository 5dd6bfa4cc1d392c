"""The commands about what is there: list, doctor."""

from __future__ import annotations

import sys

from rich.table import Table

from headstart.cli.output import console


def list_() -> None:
    """Show what there is to run.

    Studies, datasets, models with their weights, methods and recipes."""
    from headstart.cli import overview

    for problem in overview.load_plugins():
        print(problem, file=sys.stderr)
    for kind, entries in overview.entries().items():
        table = Table(
            title=kind,
            title_justify="left",
            title_style="bold",
            show_header=False,
            box=None,
            padding=(0, 2, 0, 1),
        )
        table.add_column(no_wrap=True)
        table.add_column()
        for name, words in entries.items():
            table.add_row(name, words)
        console.print(table)


def doctor() -> None:
    """Show what this machine has and lacks.

    Versions, cores, precision, devices, the cache; what is missing and the command that mends it."""
    from headstart.cli.doctor import examine

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    findings = examine()
    for finding in findings:
        table.add_row(("ok  " if finding.fine else "MISS") + f" {finding.what}", finding.value)
    console.print(table)
    for finding in findings:
        if not finding.fine:
            print(f"to mend {finding.what}: {finding.remedy}")
