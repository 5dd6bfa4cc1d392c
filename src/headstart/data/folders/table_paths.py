"""Where the images of a table lie: paths as they stand, or as they were meant on another machine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from headstart.data.folders.walk import IMAGE_SUFFIXES, is_junk
from headstart.errors import DataError
from headstart.runtime.show import shown

_MOST_FILES = 500_000  # below the table's folder, that are looked through
_WORDS = {
    "backslashes": "are written with backslashes",
    "elsewhere": "are those of another folder or machine; the files are taken from beside the table",
    "suffix": "have no suffix; the files with one are taken",
    "other-suffix": "end in another suffix than the files that are taken",
    "quotes": "stand in quotes",
    "encoded": "are written as in an address (%20)",
    "case": "differ from the files' names in upper and lower case",
    "folder": "leave out the folder that the files lie in",
}


def looks_like_path(text: str) -> bool:
    """Whether a cell reads like an image file's path."""
    return text.strip().lower().endswith(IMAGE_SUFFIXES)


class Resolver:
    """Finds a table's files. Beside the plain path, relative to the table's folder, it knows what people do.

    A file that cannot be found keeps its plain path: it is then reported as not there."""

    def __init__(self, table: Path) -> None:
        self._table, self._home = table, table.parent
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._by_path: dict[str, list[Path]] = {}
        self._by_end: dict[str, list[Path]] = {}
        self._indexed = False

    def resolve(self, paths: Sequence[str]) -> list[Path]:
        """A path for each cell. Raises: DataError for addresses of web pages."""
        links = [
            path
            for path in paths
            if path.lower().startswith(("http://", "https://", "ftp://", "s3://", "gs://"))
        ]
        if links:
            raise DataError(
                f"{self._table}: {len(links):,} paths are addresses on the web, e.g. {shown(links[0])}; "
                "fetch the "
                "files and write their paths on this machine"
            )
        return [self._one(path) for path in paths]

    def notes(self) -> Iterator[tuple[str, str]]:
        """(code, message) for each kind of path that was read otherwise than it stands."""
        for kind, count in self._kinds.items():
            yield f"paths-{kind}", f"{count:,} paths {_WORDS[kind]}, e.g. {self._examples[kind]}"

    def suffix_of(self, name: str) -> str | None:
        """The suffix that a file called so has, where it was left out."""
        path = self._with_suffix(name.replace("\\", "/"))
        return path.suffix if path else None

    def _one(self, text: str) -> Path:
        plain = self._home / Path(text).expanduser()
        if plain.is_file():
            return plain
        for kind, path in self._guesses(text):
            if path is not None:
                self._kinds[kind] += 1
                self._examples.setdefault(kind, f"{shown(text)} as {shown(str(path))}")
                return path
        return plain

    def _guesses(self, text: str) -> Iterator[tuple[str, Path | None]]:
        slashed = text.replace("\\", "/")
        if slashed != text:
            yield "backslashes", self._existing(slashed)
        if text[:1] in "'\"`" and text[:1] == text[-1:]:
            yield "quotes", self._existing(slashed[1:-1])
        if "%" in text:
            yield "encoded", self._existing(unquote(slashed))
        parts = PurePosixPath(slashed).parts
        for start in range(1, len(parts)):
            yield "elsewhere", self._existing("/".join(parts[start:]))
        self._index()
        yield "suffix", self._with_suffix(slashed)
        yield "other-suffix", self._with_suffix(str(PurePosixPath(slashed).with_suffix("")))
        yield "case", self._only(self._by_path.get(slashed.casefold()))
        yield "folder", self._only(self._further_down(slashed))
        yield "suffix", self._only(self._further_down(f"{slashed}."))

    def _existing(self, relative: str) -> Path | None:
        path = self._home / relative
        return path if relative and path.is_file() else None

    def _with_suffix(self, slashed: str) -> Path | None:
        parent, stem = self._home / slashed, PurePosixPath(slashed).name
        try:
            names = [n for n in os.listdir(parent.parent) if n.startswith(f"{stem}.") and looks_like_path(n)]
        except OSError:
            return None
        return parent.parent / names[0] if len(names) == 1 else None

    def _further_down(self, slashed: str) -> list[Path]:
        """The files whose path ends so, whatever folders it begins with."""
        end = "/" + slashed.casefold()
        files = self._by_end.get(PurePosixPath(slashed).name.casefold(), [])
        return [path for path in files if self._beginning(path, end).casefold().endswith(end)]

    def _beginning(self, path: Path, end: str) -> str:
        relative = "/" + path.relative_to(self._home).as_posix()
        return relative.removesuffix(path.suffix) + "." if end.endswith(".") else relative

    @staticmethod
    def _only(paths: list[Path] | None) -> Path | None:
        return paths[0] if paths and len(paths) == 1 else None

    def _index(self) -> None:
        if self._indexed:
            return
        self._indexed = True
        count = 0
        for home, folders, files in os.walk(self._home):
            folders[:] = sorted(name for name in folders if not is_junk(name))
            for name in files:
                if not looks_like_path(name):
                    continue
                path = Path(home, name)
                relative = path.relative_to(self._home).as_posix().casefold()
                self._by_path.setdefault(relative, []).append(path)
                self._by_end.setdefault(name.casefold(), []).append(path)
                self._by_end.setdefault(f"{path.stem.casefold()}.", []).append(path)
                count += 1
            if count > _MOST_FILES:
                return
