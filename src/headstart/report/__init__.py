"""Run folders -> one self-contained HTML page, a table for the terminal, the answer in a sentence.

Reads a study's folder and nothing else; never imports torch. The same folder gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.report.writers.bundle import differences, write_bundle
    from headstart.report.writers.kept import keep_report
    from headstart.report.writers.page import write_health_page, write_report
    from headstart.report.writers.terminal import (
        closing,
        health_table,
        ledger_json,
        ledger_table,
        summary_table,
        verdict,
    )

__all__ = [
    "closing",
    "differences",
    "health_table",
    "keep_report",
    "ledger_json",
    "ledger_table",
    "summary_table",
    "verdict",
    "write_bundle",
    "write_health_page",
    "write_report",
]

_HOMES = {
    "closing": "terminal",
    "differences": "bundle",
    "health_table": "terminal",
    "keep_report": "kept",
    "ledger_json": "terminal",
    "ledger_table": "terminal",
    "summary_table": "terminal",
    "verdict": "terminal",
    "write_bundle": "bundle",
    "write_health_page": "page",
    "write_report": "page",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use: claims for a terminal need no figures.
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"headstart.report.writers.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'headstart.report' has no attribute {name!r}")
