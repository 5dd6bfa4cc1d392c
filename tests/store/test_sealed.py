"""An object that carries its own digest is read as it was written, or not at all; older files are read as
they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from headstart import store
from headstart.errors import DamagedError
from headstart.store.sealed import SEAL, sealed

VALUE = {"name": "naïve 日本", "share": 0.1 + 0.2, "counts": [1, 2, 3], "none": None}


def test_what_was_written_is_read_without_its_digest(tmp_path: Path) -> None:
    store.write_sealed(tmp_path / "a.json", VALUE | {"numpy": np.float32(0.5), "path": Path("x")})
    assert SEAL in json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert store.read_json(tmp_path / "a.json") == VALUE | {"numpy": 0.5, "path": "x"}


def test_every_single_changed_bit_is_an_error_or_the_same_value(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_sealed(path, {"accuracy": 0.9151, "images": 250})
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            value = store.read_json(path)
        except DamagedError:
            continue
        # A bit of the digest's own name: an object without one, whose values are as they were.
        assert (value["accuracy"], value["images"]) == (0.9151, 250)


def test_a_changed_digit_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_sealed(path, VALUE)
    path.write_text(path.read_text(encoding="utf-8").replace(" 2,", " 7,"), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"a\.json is damaged \(its SHA-256 is not .* written\); do this$"):
        store.read_json(path, "do this")


def test_another_layout_of_the_same_value_is_the_same_value(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(sealed(VALUE)), encoding="utf-8")
    assert store.read_json(tmp_path / "a.json") == VALUE


def test_a_file_of_before_is_read_as_it_is(tmp_path: Path) -> None:
    store.write_json(tmp_path / "a.json", VALUE)
    assert store.read_json(tmp_path / "a.json") == VALUE


@pytest.mark.parametrize("text", ['"\\ud800"', "1e999"])
def test_a_value_that_has_no_digest_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f'{{"a": {text}, "{SEAL}": "0"}}', encoding="utf-8")
    with pytest.raises(DamagedError):
        store.read_json(tmp_path / "a.json")
