"""Decisions about single images: read, written, carried out, part of the fingerprint, files untouched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.support.noise_folder import write_noise

from headstart.data import load_dataset
from headstart.data.folders import SourceOptions
from headstart.data.folders.decided import decode_decided
from headstart.data.folders.decisions import Decision, decisions_in_words, read_decisions, write_decisions
from headstart.data_quality.folder import check_images
from headstart.errors import DataError


def decision(path: Path, kind: str, label: str = "") -> Decision:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Decision(digest=digest, kind=kind, label=label, name=path.name)  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_noise(tmp_path / "photos", {"cat": 8, "dog": 8})
    return tmp_path / "photos"


def options(path: Path) -> SourceOptions:
    return SourceOptions(decisions=str(path))


def test_decisions_are_read_as_they_were_written(photos, tmp_path):
    given = [decision(photos / "cat/0.png", "exclude"), decision(photos / "cat/1.png", "relabel", "dog, wet")]
    write_decisions(tmp_path / "decisions.csv", given)
    assert (tmp_path / "decisions.csv").read_text().splitlines()[0] == "digest,decision,label,name"
    assert list(read_decisions(tmp_path / "decisions.csv").values()) == given
    assert read_decisions(tmp_path / "none.csv") == {}


def test_a_carriage_return_in_a_name_is_read_with_and_without_quotes(tmp_path):
    file, digests = tmp_path / "decisions.csv", ("a" * 64, "b" * 64)
    names = ("cat/a\rb.png", "cat/plain.png")
    given = [
        Decision(digest=digest, kind="keep", name=name) for digest, name in zip(digests, names, strict=True)
    ]
    write_decisions(file, given)
    assert list(read_decisions(file).values()) == given
    assert file.read_bytes().endswith(f"\n{digests[1]},keep,,cat/plain.png\n".encode())
    file.write_bytes(file.read_bytes().replace(b'"', b""))
    assert [each.name for each in read_decisions(file).values()] == ["cat/a b.png", names[1]]


@pytest.mark.parametrize(
    "row", ["abc,exclude,,x", f"{'a' * 64},remove,,x", f"{'a' * 64},relabel,,x", f"{'a' * 64},keep,cat,x"]
)
def test_a_row_that_makes_no_sense_is_named(tmp_path, row):
    (tmp_path / "decisions.csv").write_text(f"digest,decision,label,name\n{row}\n")
    with pytest.raises(DataError, match=r"decisions\.csv, line 2: expected a SHA-256, one of exclude"):
        read_decisions(tmp_path / "decisions.csv")


def test_another_table_is_refused(tmp_path):
    (tmp_path / "decisions.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="does not begin with the line digest,decision,label,name"):
        read_decisions(tmp_path / "decisions.csv")


def test_decisions_are_carried_out_by_content(photos, tmp_path):
    file = tmp_path / "decisions.csv"
    write_decisions(
        file,
        [
            decision(photos / "cat/0.png", "exclude"),
            decision(photos / "cat/1.png", "relabel", "bird"),
            decision(photos / "dog/0.png", "keep"),
        ],
    )
    (photos / "cat/0.png").rename(photos / "dog/elsewhere.png")  # known wherever it lies
    decoded = decode_decided(photos, 16, options(file))
    labels = {entry.name: entry.label for entry in decoded.source.entries}
    assert decoded.source.class_names == ("bird", "cat", "dog")
    assert labels["cat/1.png"] == "bird"
    readable = {decoded.source.entries[place].name for place in decoded.readable}
    assert "dog/elsewhere.png" not in readable and len(readable) == 15
    assert decisions_in_words(decoded) == "1 left out, 1 given another label, 1 kept as they are"


def test_a_class_that_decisions_empty_is_none_any_more(tmp_path):
    write_noise(tmp_path / "photos", {"cat": 4, "dog": 4, "odd": 1})
    file = tmp_path / "decisions.csv"
    write_decisions(file, [decision(tmp_path / "photos/odd/0.png", "exclude")])
    assert decode_decided(tmp_path / "photos", 16, options(file)).source.class_names == ("cat", "dog")


def test_added_images_join_their_classes(photos, tmp_path):
    write_noise(tmp_path / "added", {"cat": 1, "bird": 2}, seed=1)
    decoded = decode_decided(photos, 16, options(tmp_path / "decisions.csv"))
    assert decoded.source.class_names == ("bird", "cat", "dog")
    assert sum(entry.label == "cat" for entry in decoded.source.entries) == 9
    assert decisions_in_words(decoded) == "3 added"


def test_the_fingerprint_changes_and_the_files_do_not(photos, tmp_path):
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    description = tmp_path / "images.toml"
    description.write_text(f'path = "{photos}"\nimage_pixels = 16\ndecisions = "decisions.csv"\n')
    plain = load_dataset(description)
    write_decisions(tmp_path / "decisions.csv", [decision(photos / "cat/0.png", "exclude")])
    without = load_dataset(description)
    write_decisions(tmp_path / "decisions.csv", [decision(photos / "cat/0.png", "relabel", "dog")])
    relabelled = load_dataset(description)
    assert len({each.fingerprint for each in (plain, without, relabelled)}) == 3
    assert [len(each.train) + len(each.test) for each in (plain, without, relabelled)] == [16, 15, 16]
    (tmp_path / "decisions.csv").unlink()
    assert load_dataset(description).fingerprint == plain.fingerprint
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before


def test_the_check_counts_decisions_and_leaves_kept_copies_out(photos, tmp_path):
    (photos / "dog/copy.png").write_bytes((photos / "cat/0.png").read_bytes())
    file, out = tmp_path / "decisions.csv", tmp_path / "check"
    before = check_images(photos, out=out, label_errors=False).inspection
    assert [group.names for group in before.groups] == [("cat/0.png", "dog/copy.png")]
    write_decisions(file, [decision(photos / "cat/0.png", "keep")])
    after = check_images(photos, out=out, options=options(file), label_errors=False).inspection
    assert after.groups == ()
    assert "images decided on: 2 kept as they are" in [remark.message for remark in after.remarks]
