"""Tables of many hands are understood, or refused in one line that says what would fit."""

from __future__ import annotations

from pathlib import Path

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
