"""TOML that people write is bounded: one line, in seconds, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.limited import under_limit

from headstart.studies.study_file import load_study

HOSTILE = {
    "a huge number": "seeds = [" + "9" * 100_000 + "]",
    "a huge hexadecimal number": "seeds = [0x" + "f" * 100_000 + "]",
    "deep lists": "seeds = " + "[" * 100_000,
    "deep and whole lists": "seeds = " + "[" * 500 + "]" * 500,
    "deep tables": "seeds = " + "{a=" * 50_000,
    "a long key": ".".join("a" * 50_000) + " = 1",
    "a long quoted key": ".".join(['"a"'] * 50_000) + " = 1",
    "a long table": "[" + ".".join("a" * 50_000) + "]",
    "too large": "# " + "x" * 2_000_000,
    "no text": "\x00\x01",
    "a list": "[[arms]]\nname = 3",
    "no arms": "name = 'a'\ndataset = 'cifar10'\narms = 7",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_study_file_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(HOSTILE[kind])
    said = under_limit(lambda: load_study(path), seconds=10)
    assert said.startswith("ConfigError: ") and "study.toml" in said and len(said) < 1000
