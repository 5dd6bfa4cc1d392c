"""Tables of many hands are understood, or refused in one line that says what would fit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from headstart.data.folders import find_entries
from headstart.data.folders.table_paths import Resolver
from headstart.data.folders.tables import read_table
from headstart.errors import DataError

ROWS = [(f"imgs/{kind}_{number}.png", kind) for kind in ("circle", "square") for number in range(3)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for path, _ in ROWS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    return tmp_path


def _table(home: Path, rows, header=("path", "label"), separator=",", encoding="utf-8") -> Path:
    lines = [separator.join(map(str, row)) for row in ([header] if header else []) + list(rows)]
    (home / "t.csv").write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return home / "t.csv"


def _read(table: Path) -> list[tuple[str, str]]:
    """(path relative to the table, label) of each entry, in the order of the rows' names."""
    return [(e.path.relative_to(table.parent).as_posix(), e.label) for e in find_entries(table).entries]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_separators_and_encodings_are_told(home, separator, encoding):
    assert _read(_table(home, ROWS, separator=separator, encoding=encoding)) == ROWS


def test_letters_of_windows_are_read_and_said(home):
    table = _table(
        home, [(path, {"circle": "Käse"}.get(kind, kind)) for path, kind in ROWS], encoding="cp1252"
    )
    source = find_entries(table)
    assert source.class_names == ("Käse", "square")
    assert "not UTF-8" in source.notes[0].message and "'Käse'" in source.notes[0].message


@pytest.mark.parametrize(
    ("written", "code"),
    [
        (lambda path: path.replace("/", "\\"), "paths-backslashes"),
        (lambda path: "C:\\Users\\me\\data\\" + path.replace("/", "\\"), "paths-elsewhere"),
        (lambda path: f"/home/else/{path}", "paths-elsewhere"),
        (lambda path: f"~/{path}", "paths-elsewhere"),
        (lambda path: f"data/{path}", "paths-elsewhere"),
        (lambda path: path.removesuffix(".png"), "paths-suffix"),
        (lambda path: path.removeprefix("imgs/").removesuffix(".png"), "paths-suffix"),
        (lambda path: path.removeprefix("imgs/"), "paths-folder"),
        (str.upper, "paths-case"),
    ],
)
def test_paths_as_they_were_meant_on_another_machine(home, written, code):
    table = _table(home, [(written(path), kind) for path, kind in ROWS])
    source = find_entries(table)
    assert sorted((e.path.relative_to(home).as_posix(), e.label) for e in source.entries) == sorted(ROWS)
    (note,) = source.notes
    assert note.code == code and note.severity == "warning" and note.message.startswith("6 paths ")


def test_absolute_paths_and_spaces_around_cells_need_no_word(home):
    table = _table(home, [(f" {home / path} ", f" {kind}") for path, kind in ROWS], (" Path", "LABEL "))
    assert _read(table) == ROWS and not find_entries(table).notes


def test_one_column_a_class_is_read(home):
    rows = [(path, int(kind == "circle"), int(kind == "square")) for path, kind in ROWS]
    assert _read(_table(home, rows, ("path", "circle", "square"))) == ROWS
    rows[1] = (rows[1][0], 1, 1)
    with pytest.raises(DataError, match="a column for each of 2 classes, and row 2 has 2 of them set"):
        find_entries(_table(home, rows, ("path", "circle", "square")))


@pytest.mark.parametrize(("column", "split"), [("is_valid", "val"), ("is_test", "test")])
def test_a_column_of_true_and_false_is_the_split(home, column, split):
    rows = [(path, kind, number % 3 == 0) for number, (path, kind) in enumerate(ROWS)]
    source = find_entries(_table(home, rows, ("path", "label", column)))
    assert [entry.split for entry in source.entries] == [split, "train", "train"] * 2


def test_one_image_under_two_labels_is_an_error_by_its_name(home):
    source = find_entries(_table(home, [*ROWS, (ROWS[0][0], "square")]))
    (note,) = source.notes
    assert (note.severity, note.code) == ("error", "two-labels") and "imgs/circle_0.png" in note.message


def test_one_number_written_in_two_ways_is_said(home):
    rows = [(path, "1" if kind == "circle" else "1.0") for path, kind in ROWS]
    assert "labels 1 (3), 1.0 (3) are one number" in find_entries(_table(home, rows)).notes[0].message


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (ROWS, ("image", "class"), "no column 'path', only image, class; make its first line path,label"),
        (ROWS, ("qwx", "zzb"), "no column 'path', only qwx, zzb; make its first line path,label"),
        (ROWS, (), "has no header: its first line is imgs/circle_0.png, circle; put a line path,label above"),
        (
            [(p.removesuffix(".png"), k) for p, k in ROWS],
            ("id", "label"),
            r"lack a suffix: did you mean "
            r"\.png\?",
        ),
        (
            [(p, f"{k} square" if "0" in p else k) for p, k in ROWS],
            ("path", "label"),
            "'circle square' look like several",
        ),
        (
            [(p, f"{k}|square" if "0" in p else k) for p, k in ROWS],
            ("path", "label"),
            r"'circle\|square' "
            r"look like several",
        ),
        (
            [(f"{n}.png", n / 8) for n in range(40)],
            ("path", "label"),
            "look like amounts, not classes: 40 different",
        ),
        ([(f"{n}.png", f"w{n}") for n in range(40)], ("path", "label"), "are nearly as many as the images"),
        ([(f"https://a.org/{p}", k) for p, k in ROWS], ("path", "label"), "6 paths are addresses on the web"),
        ([(p, k, True) for p, k in ROWS], ("path", "label", "split"), "unknown split 'True'"),
        (
            [(p, "", "test") for p, k in ROWS],
            ("path", "label", "split"),
            "6 rows have no label, the first is row 1, all of split test",
        ),
        ([], ("path", "label"), "has no rows below its header"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_way_out(home, rows, header, message):
    with pytest.raises(DataError, match=message) as error:
        find_entries(_table(home, rows, header))
    assert "\n" not in str(error.value)


def test_a_class_of_two_words_is_no_pair_of_labels(home):
    rows = [(path, f"{kind}, painted") for path, kind in ROWS]
    table = _table(home, [(path, f'"{label}"') for path, label in rows])
    assert _read(table) == rows


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("imgs/circle_0.jpg", "other-suffix"),
        ("'imgs/circle_0.png'", "quotes"),
        ("imgs/circle%5F0.png", "encoded"),
    ],
)
def test_paths_with_another_suffix_in_quotes_or_as_in_an_address_are_found(tmp_path, written, kind):
    (tmp_path / "imgs").mkdir()
    (tmp_path / "imgs" / "circle_0.png").touch()
    resolver = Resolver(tmp_path / "t.csv")
    assert resolver.resolve([written]) == [tmp_path / "imgs" / "circle_0.png"]
    assert [code for code, _ in resolver.notes()] == [f"paths-{kind}"]


@pytest.mark.parametrize("start", ["# made by hand\n", ""])
@pytest.mark.parametrize("end", ["\n", "\r"])
def test_old_line_ends_and_a_comment_above_the_header_are_understood(tmp_path, start, end):
    text = start + "path,label\na.png,cat\nb.png,dog\n"
    (tmp_path / "t.csv").write_bytes(text.replace("\n", end).encode())
    assert [(row.name, row.label) for row in read_table(tmp_path / "t.csv").rows] == [
        ("a.png", "cat"),
        ("b.png", "dog"),
    ]


@pytest.mark.parametrize("several", ["qwx;zzb", "qwx | zzb", "['qwx', 'zzb']", "{qwx,zzb}"])
def test_lists_of_labels_are_refused_where_only_one_of_them_stands_alone(tmp_path, several):
    lines = ["path\tlabel", *(f"{n}.png\t{'zzb' if n % 2 else several}" for n in range(8))]
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="look like several"):
        read_table(tmp_path / "t.tsv")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("sep=;\npath;label\nq/1.png;zint\nq/2.png;wug\n", ["zint", "wug"]),
        ("My blorps,\nmade in May,,\npath,label\nq/1.png,zint\nq/2.png,wug\n", ["zint", "wug"]),
        ("'path','label'\n'q/1.png','zint'\n'q/2.png','wug, it'\n", ["zint", "wug, it"]),
        ("path,label\nq/1.png,['zint']\nq/2.png,['wug']\n", ["zint", "wug"]),
        ('path,label\nq/1.png,"[""zint""]"\nq/2.png,"[""wug""]"\n', ["zint", "wug"]),
        ("path,label,label\nq/1.png,zint,zint\nq/2.png,wug,wug\n", ["zint", "wug"]),
    ],
)
def test_what_spreadsheets_and_programs_write_around_cells_is_understood(tmp_path, written, found):
    (tmp_path / "t.csv").write_text(written)
    rows = read_table(tmp_path / "t.csv").rows
    assert [row.label for row in rows] == found and [row.name for row in rows] == ["q/1.png", "q/2.png"]


def test_lines_above_the_header_are_counted(tmp_path):
    (tmp_path / "t.csv").write_text("My blorps,\n2026,,\npath,label\nq/1.png,zint\n")
    (note,) = read_table(tmp_path / "t.csv").notes
    assert note.message == "above the line path,label 2 others are passed over"


@pytest.mark.parametrize("column", ["set", "qzx"])
def test_a_column_of_the_words_for_splits_is_the_split_whatever_it_is_called(home, column):
    rows = [(p, k, "Test" if "0" in p else "train") for p, k in ROWS]
    source = find_entries(_table(home, rows, ("path", "label", column)))
    assert [entry.split for entry in source.entries] == ["test", "train", "train"] * 2
    assert source.notes[0].message == f"column {column} is read as the split: it holds nothing else"


@pytest.mark.parametrize("values", [("train", "train"), ("train", "zint")])
def test_a_column_of_one_split_or_of_other_words_too_is_none(home, values):
    rows = [(p, k, values["0" in p]) for p, k in ROWS]
    assert not find_entries(_table(home, rows, ("path", "label", "set"))).has_splits


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ((), [(k, p) for p, k in ROWS], "put a line label,path above it"),
        (("path", "zint", "wug"), [(p, 0.9, 0.1) for p, _ in ROWS], "add a column label with the class of"),
        (("path", "label", "label"), [(p, k, "x") for p, k in ROWS], "has 2 different columns label; rename"),
        (("path label",), [(f"{p} {k}",) for p, k in ROWS], "columns path and label, separated by commas"),
    ],
)
def test_the_way_out_fits_the_table(home, header, rows, message):
    with pytest.raises(DataError, match=message):
        find_entries(_table(home, rows, header))


@pytest.mark.parametrize(("cell", "code"), [("b/1.png", "folder"), ("b/1", "suffix"), ("B/1.PNG", "folder")])
def test_paths_that_leave_out_the_upper_folders_are_found_where_only_one_ends_so(tmp_path, cell, code):
    for name in ("q/b/1.png", "q/c/1.png", "q/b/11.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    resolver = Resolver(tmp_path / "t.csv")
    assert resolver.resolve([cell, "1.png"]) == [tmp_path / "q" / "b" / "1.png", tmp_path / "1.png"]
    assert [code for code, _ in resolver.notes()] == [f"paths-{code}"]


@pytest.mark.parametrize("word", ["-", "#N/A", "nan"])
def test_words_for_no_label_are_told(home, word):
    source = find_entries(_table(home, [(p, word if "0" in p else k) for p, k in ROWS]))
    assert source.notes[0].message == f"2 images have the label {word!r}, which is read as a class"


def test_amounts_with_a_decimal_comma_are_no_classes(home):
    rows = [(f"{n}.png", f"{n},5") for n in range(40)]
    with pytest.raises(DataError, match="look like amounts, not classes"):
        find_entries(_table(home, rows, separator=";"))


def test_parquet_with_its_paths_as_index_and_lists_of_labels_is_read(tmp_path):
    frame = pd.DataFrame({"path": ["a.png", "b.png"], "label": [["zint"], ["wug"]]}).set_index("path")
    frame.to_parquet(tmp_path / "t.parquet")
    rows = read_table(tmp_path / "t.parquet").rows
    assert [(row.name, row.label) for row in rows] == [("a.png", "zint"), ("b.png", "wug")]
    pd.DataFrame({"path": ["a.png"], "label": [["zint", "wug"]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="look like several"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("cell", [b"\x89PNG", {"bytes": b"\x89PNG", "path": None}])
def test_images_inside_a_parquet_file_are_refused_without_their_bytes(tmp_path, cell):
    pd.DataFrame({"qzx": [cell], "label": ["zint"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column qzx holds the images themselves, not their paths") as error:
        read_table(tmp_path / "t.parquet")
    assert "PNG" not in str(error.value)
