"""Pages of the documentation that are made from code: the command line's reference and the index of
decisions.

mkdocs calls `on_config` and `on_files` (see mkdocs.yml, hooks).
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on_config(config: Any) -> Any:
    """Let the pages' generator say warnings alone."""
    logging.getLogger("mkdocs.plugins.mkdocstrings").setLevel(logging.WARNING)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made from code."""
    from mkdocs.structure.files import File

    for uri, text in (
        ("reference/cli.md", cli_reference()),
        ("decisions/index.md", decisions_index()),
    ):
        files.append(File.generated(config, uri, content=text))
    return files


def decision_titles() -> list[tuple[Path, str]]:
    """The file and the title of each decision, in order."""
    paths = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    return [(path, path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")) for path in paths]


def decisions_index() -> str:
    """The page that lists the decisions."""
    rows = [f"{int(path.name[:4])}. [{title}]({path.name})" for path, title in decision_titles()]
    return "\n".join(
        ["# Decisions", "", "What was decided, why, and what was rejected with its number.", "", *rows, ""]
    )


def cli_reference() -> str:
    """Every command with its arguments and options, read from the command line itself, as Markdown."""
    import typer.main

    from headstart.cli.app import app

    lines = ["# Command line", "", "Made from the program: `headstart --help` says the same.", ""]
    for words, command in commands(typer.main.get_command(app), ("headstart",)):
        context = command.context_class(command, info_name=" ".join(words))
        lines += [f"## {' '.join(words)}", "", *_prose(command.help or ""), ""]
        lines += ["```text", command.get_usage(context).removeprefix("Usage: ").strip(), "```", ""]
        lines += _parameters(command, context)
    return "\n".join(lines)


def commands(command: Any, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """Every command that can be called, this one or below it, as (words, command).

    Groups without an action of their own are left out."""
    below = getattr(command, "commands", {})
    if not below:
        return [(words, command)]
    return [
        each for name, child in below.items() if not child.hidden for each in commands(child, (*words, name))
    ]


def _prose(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _parameters(command: Any, context: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if record := parameter.get_help_record(context):
            names, text = (re.sub(r"\s+", " ", part).replace("|", "\\|") for part in record)
            rows.append(f"| `{names}` | {_escaped(text)} |")
    return ["| | |", "|---|---|", *rows, ""] if rows else []


def _escaped(text: str) -> str:
    return text.replace("[", "\\[").replace("*", "\\*").replace("<", "&lt;")
