"""Whatever a file holds, reading it is one line or a value, within 1.5 GB and 20 seconds; what carries a
checksum is read as it was written or not at all.

Every kind of file that is read back, a few seeded damages each; `make test-full` tries 200 of each. In a
forked process under a limit of memory, which is replaced where it dies.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.damages import damaged, raw_damage
from tests.support.fuzz_worker import in_worker
from tests.support.stored_app_files import write_app_files
from tests.support.stored_files import Kind, as_text, write_all

from headstart.errors import HeadstartError
from headstart.runtime.show import shown
from headstart.store import manifest

FEW, MANY = 3, 200


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kind]]:
    folder = tmp_path_factory.mktemp("every kind")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
        yield write_all(folder) | write_app_files(folder)


def _read(kind: Kind) -> str:
    """What reading gave: a value's digest, one line, or a fault."""
    try:
        return f"value {as_text(kind.read())}"
    except HeadstartError as error:
        text = str(error)
        if len(text) > 3000 or shown(text) != text:
            return f"fault: no line for a terminal: {text[:300]!r}"
        return f"line {text}"
    except MemoryError:
        return "fault: MemoryError"
    except BaseException as error:
        import traceback

        return f"fault: {type(error).__name__}: {error} {traceback.format_exc()[-1500:]}"


def _faults(kind: Kind, change: Callable[[bytes, random.Random], bytes], count: int, same: bool) -> list[str]:
    """Every damage whose reading is neither a value nor a line; with `same`, or another value than before."""
    before = _read(kind)  # which makes a cache anew that an earlier damage has changed
    assert before.startswith("value"), before
    path, beside = kind.place, kind.beside
    whole, whole_manifest = path.read_bytes(), beside.read_bytes() if beside else b""

    def attempt(number: int) -> str:
        try:
            content = change(whole, random.Random(number))
            path.write_bytes(content)
            if beside is not None and not same:
                names = [each.name for each in path.parent.iterdir() if each != beside]
                manifest.write_manifest(path.parent, names)
            answer = _read(kind)
            if same and content != whole and answer.startswith("value") and answer != before:
                return "fault: another value than the one that was written"
            return answer
        finally:
            _restore({path: whole, beside: whole_manifest})

    answers = list(in_worker(attempt, range(count)))
    _restore({path: whole, beside: whole_manifest})
    assert len(answers) == count
    return [f"{number}: {answer}" for number, answer in answers if not answer.startswith(("value", "line"))]


def _restore(files: dict[Path | None, bytes]) -> None:
    for path, content in files.items():
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _all_faults(kinds: dict[str, Kind], count: int) -> list[str]:
    faults = []
    for name, kind in kinds.items():
        faults += [f"{name} {each}" for each in _faults(kind, damaged, count, same=False)]
        if kind.checked:
            faults += [f"{name}, bits {each}" for each in _faults(kind, raw_damage, count, same=True)]
    return faults


def test_a_few_damages_to_every_kind_of_file_are_a_value_or_one_line(kinds: dict[str, Kind]) -> None:
    assert _all_faults(kinds, FEW) == []


@pytest.mark.slow
def test_many_damages_to_every_kind_of_file_are_a_value_or_one_line(kinds: dict[str, Kind]) -> None:
    assert _all_faults(kinds, int(os.environ.get("HEADSTART_FUZZ", MANY))) == []


def test_a_worker_that_dies_is_replaced_and_named() -> None:
    def run(number: int) -> str:
        if number == 1:
            os.abort()
        if number == 2:
            try:
                return str(len(bytearray(3_000_000_000)))
            except MemoryError:
                return "no memory"
        return "done"

    answers = dict(in_worker(run, range(4)))
    assert answers == {0: "done", 1: "the process died: SIGABRT", 2: "no memory", 3: "done"}
