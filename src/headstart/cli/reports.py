"""The commands that show and publish a study's results: report, findings, publish."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from headstart.cli.output import console, render


def report(
    folder: Annotated[
        Path, typer.Argument(help="A study's folder, as `headstart study` wrote it, or published trials.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            help="A folder to publish: page, PDF, Markdown, figures, tables and the "
            "trials without their weights."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say whether FOLDER, a published report, is what its trials give."),
    ] = False,
) -> None:
    """Render a study's report again, or publish it.

    Nothing but the folder is read: no data, no weights, no network."""
    if check:
        from headstart.errors import StaleReportError
        from headstart.report import differences

        if changed := differences(folder):
            raise StaleReportError(
                f"{folder}: {'; '.join(changed)}; make it again: headstart report {folder}/trials "
                f"--to {folder}"
            )
        print(f"{folder} is what its trials give")
        return
    if to is None:
        render(folder)
        return
    from headstart.plots import visible
    from headstart.report import verdict, write_bundle

    bundle = write_bundle(folder, to)
    console.print(Text(visible(verdict(to / "trials"))), soft_wrap=True)
    print(f"{len(bundle.files)} files in {to}, made from {to / 'trials'}")
    for reason in bundle.missing:
        print(f"headstart: {reason}", file=sys.stderr)


def findings(
    folder: Annotated[Path, typer.Argument(help="A study's folder, as `headstart study` wrote it.")],
    json: Annotated[bool, typer.Option("--json", help="Print them for programs.")] = False,
) -> None:
    """Print a study's claims and verdicts.

    Each is supported, refuted, inconclusive, or n/a where there are not two seeds."""
    from headstart.report import ledger_json, ledger_table

    if json:
        print(ledger_json(folder), end="")
    elif (table := ledger_table(folder)).row_count:
        console.print(table)
    else:
        print("this study states no claims; add [[claims]] tables to its file")


def publish(
    folder: Annotated[Path, typer.Argument(help="A study's folder, as `headstart study` wrote it.")],
    to: Annotated[Path, typer.Option(help="Where published trials are kept.")] = Path("report/trials"),
) -> None:
    """Keep a study's finished trials without their weights.

    Summaries, test logits as float16 and all that the report needs, small enough for a repository; `headstart
    study --published` counts the trials as finished, `headstart report` renders from them."""
    from headstart.results.published import publish as write

    done = write(folder, to)
    print(f"{done.new} trials published; {to} holds {done.trials} trials, {done.size_bytes / 1e6:.1f} MB")
