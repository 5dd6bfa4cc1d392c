"""Run folders -> one self-contained HTML page, a table for the terminal, the answer in a sentence.

Reads a study's folder and nothing else; never imports torch. The same folder gives the same bytes.
"""

from __future__ import annotations

from headstart.report.writers.bundle import differences, write_bundle
from headstart.report.writers.page import write_health_page, write_report
from headstart.report.writers.terminal import health_table, ledger_json, ledger_table, summary_table, verdict

__all__ = [
    "differences",
    "health_table",
    "ledger_json",
    "ledger_table",
    "summary_table",
    "verdict",
    "write_bundle",
    "write_health_page",
    "write_report",
]
