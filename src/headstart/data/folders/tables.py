"""Read a CSV, TSV or Parquet file with a row for each image: path, label, optional split and group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of a table.

    path: where the file is. name: the path as the table has it, with the row's number where it is
    repeated."""

    path: Path
    name: str
    label: str
    split: str | None
    group: str | None


def read_table(table: Path, *, group_column: str | None = None) -> list[Row]:
    """Read the rows of a table; relative paths start at the table's own folder.

    Raises: ConfigError for a group column that is not there; DataError for a table that cannot be read, lacks
    a column, or has a row without path or label."""
    values = _read(table)
    columns = {str(column).strip().lower(): column for column in values.columns}
    for needed in ("path", "label"):
        if needed not in columns:
            raise DataError(
                f"{table} has no column {needed!r}, only {', '.join(map(str, values.columns))}; "
                "a table of pictures has the columns path and label"
            )
    if group_column is not None and group_column not in values.columns:
        raise unknown_name(
            f"column for --group-column in {table.name}", group_column, map(str, values.columns)
        )
    texts = {
        name: [_text(value) for value in values[columns[name]]]
        for name in ("path", "label", "split")
        if name in columns
    }
    groups = (
        [_text(value) for value in values[group_column]] if group_column is not None else [None] * len(values)
    )
    rows = []
    seen: dict[str, int] = {}
    for place, (path, label) in enumerate(zip(texts["path"], texts["label"], strict=True)):
        if path is None or label is None:
            raise DataError(
                f"{table}: row {place + 1} has no {'path' if path is None else 'label'}; fill it or remove "
                "the row"
            )
        seen[path] = seen.get(path, 0) + 1
        name = path if seen[path] == 1 else f"{path} (row {place + 1})"
        split = texts["split"][place] if "split" in texts else None
        rows.append(Row(path=table.parent / path, name=name, label=label, split=split, group=groups[place]))
    return rows


def _read(table: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if table.suffix.lower() == ".parquet":
            return pd.read_parquet(table)
        separator = "\t" if table.suffix.lower() == ".tsv" else ","
        # Text as it stands: a class called "NA" or "007" is a name, not a missing value or a number.
        return pd.read_csv(table, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ImportError as error:
        raise ConfigError(
            f'{table} is a Parquet table, which needs pyarrow: pip install "headstart[parquet]"'
        ) from error
    except (OSError, ValueError) as error:  # pandas' parser errors and UnicodeDecodeError are ValueErrors
        raise DataError(
            f"{table} cannot be read as a table ({' '.join(str(error).split())[:150]})"
        ) from error


def _text(value: object) -> str | None:
    """The text of a cell; None where it is empty."""
    import pandas as pd

    if value is None or value is pd.NA or value != value:
        return None
    text = str(value)
    return text if text.strip() else None
