"""A sorted folder: rows while they are written, least certain first, corrections, what to label next."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from tests.support.noise_folder import write_noise

from headstart.app.copies import copy_image, remove_copy
from headstart.app.jobs import Job
from headstart.app.sorting import Sorting, page_of
from headstart.errors import ConfigError, DataError, StoreError

HEADER = "path,class_1,probability_1,class_2,probability_2,class_3,probability_3\n"


def sorting(tmp_path: Path, text: str) -> Sorting:
    (tmp_path / "out.txt").write_text(HEADER + text)
    command = ("predict", "model", str(tmp_path), "--csv")
    job = Job(
        folder=tmp_path, kind="sort", command=command, started=0, ended=None, code=None, is_running=True
    )
    return Sorting(job)


ROWS = (
    "a.png,cat,0.90,dog,0.05,owl,0.05\n"
    "b.png,dog,0.40,cat,0.35,owl,0.25\n"
    '"c, d.png",owl,0.50,cat,0.30,dog,0.20\n'
    "e.png,cat,0.36,dog,0.34,owl,0.30\n"
)


def test_rows_come_least_certain_first_and_a_half_written_one_later(tmp_path):
    found = sorting(tmp_path, ROWS + "f.png,cat,0.3")
    assert [row.path for row in found.least_certain()] == ["e.png", "b.png", "c, d.png", "a.png"]
    assert found.rows[1].said == (("dog", 0.40), ("cat", 0.35), ("owl", 0.25))
    assert page_of(found.rows, 1, 3) == ([found.rows[3]], 2)
    with pytest.raises(DataError, match="no such image"):
        found.row(4)


def test_what_is_labelled_next_is_uncertain_and_of_every_kind(tmp_path):
    text = "".join(f"{n}.png,cat,0.50,dog,0.4{9 - n},owl,0.01\n" for n in range(5))
    found = sorting(tmp_path, text + "z.png,owl,0.60,cat,0.30,dog,0.10\n")
    assert [row.path for row in found.label_next(3)] == ["0.png", "z.png", "1.png"]
    found.correct(0, "cat")
    assert [row.path for row in found.label_next(2)] == ["1.png", "z.png"]


def test_corrections_are_kept_replaced_and_taken_back(tmp_path):
    found = sorting(tmp_path, ROWS)
    found.correct(0, "dog")
    found.correct(1, "owl")
    found.correct(0, "")
    assert dict(found.corrections) == {1: "owl"}
    assert dict(sorting(tmp_path, ROWS).corrections) == {1: "owl"}
    with pytest.raises(ConfigError, match="a class is named by"):
        found.correct(2, "../x")
    assert list(found.table()) == [
        "path,class,probability,decided\n",
        "a.png,cat,0.900000,\n",
        "b.png,owl,0.400000,yes\n",
        '"c, d.png",owl,0.500000,\n',
        "e.png,cat,0.360000,\n",
    ]


def test_links_are_sorted_into_folders_and_follow_corrections(tmp_path):
    write_noise(tmp_path / "x", {"one": 1, "two": 1})
    text = "".join(f"{tmp_path}/x/{home}/0.png,cat,0.9,dog,0.1\n" for home in ("one", "two"))
    found = sorting(tmp_path, text)
    assert found.link(tmp_path / "sorted") == 2
    assert sorted(path.name for path in (tmp_path / "sorted/cat").iterdir()) == ["0.png", "1-0.png"]
    found.correct(1, "dog")
    found.link(tmp_path / "sorted")
    assert [path.name for path in (tmp_path / "sorted/cat").iterdir()] == ["0.png"]
    assert (tmp_path / "sorted/dog/0.png").resolve() == tmp_path / "x/two/0.png"


def test_a_name_with_a_carriage_return_is_read_again_from_the_table(tmp_path):
    found = sorting(tmp_path, '"a\rb.png",cat,0.9,dog,0.1\n')
    table = list(csv.reader(io.StringIO("".join(found.table()), newline="")))
    assert table[1] == ["a\rb.png", "cat", "0.900000", ""]


def test_every_image_has_a_link_of_its_own(tmp_path):
    paths = ("a/2-x.png", "b/x.png", "c/x.png")
    found = sorting(tmp_path, "".join(f"{tmp_path}/{path},cat,0.9,dog,0.1\n" for path in paths))
    assert found.link(tmp_path / "sorted") == found.link(tmp_path / "sorted") == 3
    links = (tmp_path / "sorted/cat").iterdir()
    assert {str(link.readlink()) for link in links} == {f"{tmp_path}/{path}" for path in paths}


@pytest.mark.parametrize("way", ["sorted", "sorted/cat", "sorted/cat/a.png", "sorted/cat/a.png/folder"])
def test_what_is_in_the_way_of_links_stays_and_is_named(tmp_path, way):
    found = sorting(tmp_path, f"{tmp_path}/a.png,cat,0.9,dog,0.1\n")
    (tmp_path / way).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / way).write_text("kept")
    with pytest.raises(StoreError, match=r"sorted.* is no (folder|link); move it away") as refused:
        found.link(tmp_path / "sorted")
    assert (tmp_path / way).read_text() == "kept"
    away = tmp_path / "away"  # as it says
    Path(str(refused.value).partition(" is no ")[0]).rename(away)
    assert found.link(tmp_path / "sorted") == 1
    assert [path.read_text() for path in (away, *away.rglob("*")) if path.is_file()] == ["kept"]


def test_a_copy_of_the_users_file_is_made_and_taken_back(tmp_path):
    given = write_noise(tmp_path / "given", {"x": 1}) / "x/0.png"
    copy = copy_image(given, tmp_path / "home", "cat")
    assert copy == "cat/0.png"
    assert [path.name for path in (tmp_path / "home/cat").iterdir()] == ["0.png"]
    assert copy_image(given, tmp_path / "home", "cat") == ""
    assert copy_image(given, tmp_path / "home", "cat", [copy]) == copy
    remove_copy(given, tmp_path / "home", copy)
    assert not (tmp_path / "home/cat").exists() and given.exists()


def test_only_the_copy_itself_is_taken_back(tmp_path):
    given = write_noise(tmp_path / "given", {"x": 1}) / "x/0.png"
    home = tmp_path / "home"
    copy = copy_image(given, home, "cat")
    (home / "cat/mine.png").write_bytes(given.read_bytes())
    remove_copy(given, home, copy)
    assert [path.name for path in (home / "cat").iterdir()] == ["mine.png"]
    (home / copy).write_text("another image by now")
    remove_copy(given, home, copy)
    assert (home / copy).exists()
    with pytest.raises(StoreError, match="lies outside"):
        remove_copy(given, home, "../given/x/0.png")
    assert given.exists()


def test_a_class_that_a_spreadsheet_would_run_has_its_own_name(tmp_path):
    found = sorting(tmp_path, "a.png,'+1,0.9,'=x,0.1\nb.png,'s,0.9,dog,0.1\n")
    assert [row.said[0][0] for row in found.rows] == ["+1", "'s"]
    assert found.rows[0].said[1][0] == "=x"
    found.correct(1, "-1")
    assert list(found.table())[1:] == ["a.png,'+1,0.900000,\n", "b.png,'-1,0.900000,yes\n"]


def test_a_correction_after_half_a_line_is_kept(tmp_path):
    (tmp_path / "corrections.jsonl").write_text('[0, "dog"]\n[1, "ca')  # the app was killed
    found = sorting(tmp_path, ROWS)
    found.correct(2, "owl")
    assert dict(found.corrections) == dict(sorting(tmp_path, ROWS).corrections) == {0: "dog", 2: "owl"}


def test_a_name_that_is_no_text_leads_to_its_file(tmp_path):
    given = write_noise(tmp_path / "given", {"x": 1}) / "x/0.png"
    path = given.rename(given.with_name("caf\udce9.png"))
    found = sorting(tmp_path, f"{tmp_path}/given/x/caf\\xe9.png,cat,0.9,dog,0.1\n/no\\xe9,cat,0.9,dog,0.1\n")
    assert [row.path for row in found.rows] == [str(path), "/no\\xe9"]
    assert f"{tmp_path}/given/x/caf\\xe9.png,cat" in list(found.table())[1]
    assert copy_image(Path(found.rows[0].path), tmp_path / "home", "cat").startswith("cat/")


def test_a_long_name_that_comes_twice_has_two_links(tmp_path):
    name = "ü" * 125 + ".png"  # 254 bytes, of 255 that there may be
    found = sorting(tmp_path, "".join(f"/{home}/{name},cat,0.9,dog,0.1\n" for home in ("a", "b")))
    assert found.link(tmp_path / "sorted") == 2
    assert len(list((tmp_path / "sorted/cat").iterdir())) == 2
