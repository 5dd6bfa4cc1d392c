"""What several parts of a report share: an arm's name with its mark, and tables with a column an arm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headstart.report.document import Cell, Mark, Paragraph, Row, Run, Table, Text, bold, text
from headstart.report.load import Arm
from headstart.report.sections import tables


def mark(arm: Arm) -> Mark:
    return Mark(arm.place, arm.style.marker)


def named(arm: Arm) -> Text:
    """An arm's mark and label."""
    return text(mark(arm), " ", arm.label)


def quiet(content: str) -> Paragraph:
    return Paragraph(text=text(content), kind="quiet")


def row_name(content: str | Text, *notes: str) -> Cell:
    """The cell that names a row."""
    return Cell(text=text(content), kind="row", notes=tuple(note for note in notes if note))


def arm_name(arm: Arm, *notes: str) -> Cell:
    return row_name(named(arm), *notes)


def number(content: str, *notes: str, best: bool = False, href: str = "") -> Cell:
    """A cell with a number, small print under it; best: in bold."""
    run = Run(content, "bold" if best else "plain", href)
    return Cell(text=text(run), kind="number", notes=tuple(note for note in notes if note))


def number_of(cell: tables.Cell) -> Cell:
    return number(cell.text, cell.note, best=cell.best)


def claim_name(row: tables.ClaimRow, *notes: str) -> Cell:
    """The cell that names a claim; one that was stated after trials had been seen says so."""
    return row_name(f"{row.sentence} (post hoc)" if row.post_hoc else row.sentence, *notes)


def verdict_cell(row: tables.ClaimRow) -> Cell:
    notes = (row.shortfall,) if row.shortfall else ()
    return Cell(text=text(Run(row.verdict, "verdict")), notes=notes)


def words_cell(content: str | Text) -> Cell:
    return Cell(text=text(content))


def titles(*names: str, numbers: int = 0) -> tuple[Row, ...]:
    """One row of column titles, the last `numbers` of them over numbers."""
    plain = len(names) - numbers
    cells = [
        Cell(text=text(name), kind="text" if place < plain else "number") for place, name in enumerate(names)
    ]
    return (Row(cells=tuple(cells)),)


def arm_titles(first: str, arms: Iterable[Arm]) -> tuple[Row, ...]:
    """One row of column titles: a column an arm."""
    return (Row(cells=(Cell(text=text(first)), *(Cell(text=named(arm)) for arm in arms))),)


def by_arm(
    label: str, first: str, arms: Sequence[Arm], rows: Iterable[tuple[Cell, Iterable[tables.Cell]]], kind: str
) -> Table:
    """A table with a column an arm; rows: the cell that names the row, and the arms' cells."""
    return Table(
        label=label,
        head=arm_titles(first, arms),
        rows=tuple(Row(cells=(name, *(number_of(cell) for cell in cells))) for name, cells in rows),
        kind=kind,
    )


def list_items(*items: tuple[str, str]) -> tuple[Text, ...]:
    """Items of a list: a bold opening, then its sentence."""
    return tuple(text(bold(opening), " ", sentence) for opening, sentence in items)
