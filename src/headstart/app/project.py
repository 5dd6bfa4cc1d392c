"""What the app keeps about one set of images: in the folder that `headstart advise` writes to."""

from __future__ import annotations

import os
import shlex
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headstart import store
from headstart.app.jobs import Jobs
from headstart.app.listing import Listed, Listing, list_images
from headstart.data.folders.decisions import (
    ADDED,
    Decision,
    Kind,
    read_decisions,
    write_decisions,
)
from headstart.data.folders.decisions import FILE as DECISIONS
from headstart.data.folders.options import SourceOptions
from headstart.data.folders.walk import real_below
from headstart.errors import ConfigError, DataError, StoreError
from headstart.store.hashes import sha256_of_file
from headstart.store.names import NAME_RULE, is_name

OWN = "images"  # the folder of a project that has no other: what was dropped
_SETTINGS = "app.json"
_UNDONE = 1000  # steps that can be taken back
_HASH_BYTES = 200_000_000  # the decoder's own limit
_WAIT_SECONDS = 10.0  # for another process that decides
_MOST_FOLDERS = 10_000  # whose times are looked at


class Settings(BaseModel):
    """app.json. images: the folder, zip or table; None: the project's own. together: whether several images
    show the same thing, None: not asked yet. group_regex: what keeps them together."""

    model_config = ConfigDict(extra="ignore")
    images: str | None = None
    together: bool | None = None
    group_regex: str | None = None
    minutes: Annotated[float, Field(gt=0, lt=10_000)] = 10.0


class Step(BaseModel):
    """A decision that can be taken back: what the digest had before."""

    digest: str
    name: str
    kind: Literal["exclude", "relabel", "keep", "none"]
    label: str = ""

    @model_validator(mode="after")
    def _can_be_written(self) -> Step:
        if not store.is_key(self.digest) or (self.kind == "relabel") != bool(self.label.strip()):
            raise ValueError("expected a SHA-256, and a label with relabel alone")
        return self


class _Undo(BaseModel):
    """undo.json."""

    steps: Annotated[list[Step], Field(max_length=_UNDONE)]


class Project:
    """A set of images under a name. folder: where advice, decisions and jobs of it lie."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self.jobs = Jobs(folder / "jobs")
        self._lock = threading.RLock()
        self._is_alone = False
        self._listing: tuple[object, Listing] | None = None
        self._folders: dict[str, tuple[int, list[str]]] = {}
        self._digests: dict[tuple[str, int, int], str] = {}

    # --- what is kept ---

    @property
    def settings(self) -> Settings:
        path = self.folder / _SETTINGS
        return store.read_as(Settings, path) if path.exists() else Settings()

    def change(self, **values: object) -> None:
        """Replace some settings."""
        with self.alone():
            changed = Settings.model_validate(self.settings.model_dump() | values)
            store.write_sealed(self.folder / _SETTINGS, changed.model_dump())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread or process changes what is kept; may be entered again inside. Raises: BusyError
        where one does for long."""
        # In a folder of its own: whoever takes a lock looks for unfinished files beside it.
        path = self.folder / ".changing" / "lock"
        with self._lock:
            if self._is_alone:
                yield
                return
            with store.lock(path, f"the folder {self.folder}", _WAIT_SECONDS):
                self._is_alone = True
                try:
                    yield
                finally:
                    self._is_alone = False

    @property
    def source(self) -> Path:
        """The images: the user's own folder, zip or table, or what was dropped."""
        given = self.settings.images
        return self.folder / OWN if given is None else Path(given)

    @property
    def added(self) -> Path:
        """Where images that join go: class folders of their own. The user's files are never touched."""
        return self.folder / (OWN if self.settings.images is None else ADDED)

    # --- the images ---

    def listing(self, *, again: bool = False) -> Listing:
        """The images as they are now; listed again where a folder has changed.

        Raises: HeadstartError where they cannot be listed."""
        with self._lock:
            self._require_same()
            signature = self._signature()
            if again or self._listing is None or self._listing[0] != signature:
                self._listing = (signature, self._listed())
            return self._listing[1]

    def image(self, name: str) -> Listed:
        """An image by its name. Raises: DataError where there is none of that name."""
        entry = self.listing().by_name.get(name)
        if entry is None:
            raise DataError("there is no image of that name; reload the page")
        return entry

    def _listed(self) -> Listing:
        listing = list_images(self.source, SourceOptions())
        if self.settings.images is None or not self.added.is_dir():
            return listing
        added = list_images(self.added, SourceOptions())
        joined = [
            Listed(f"{ADDED}/{image.name}", image.path, image.label, image.root)
            for image in added.by_name.values()
        ]
        return Listing([*listing.by_name.values(), *joined], [*listing.by_class])

    def _require_same(self) -> None:
        """Raises: DataError where a link has taken the place of what was opened, or of a folder above it."""
        given = self.settings.images
        home = Path(os.path.realpath(self.folder))
        source = home / OWN if given is None else Path(os.path.abspath(given))
        for path in (source, home / self.added.name):
            if os.path.realpath(path) != str(path):
                raise DataError(f"{path} is a link now; open the folder that it leads to")

    def _signature(self) -> object:
        """Changes where a file has come or gone: the times of the folders, however deep."""
        folders: dict[str, tuple[int, list[str]]] = {}
        for root in (self.source, self.added):
            pending = [str(root)]
            while pending and len(folders) < _MOST_FOLDERS:
                here = pending.pop()
                try:
                    time = os.lstat(here).st_mtime_ns
                    if (known := self._folders.get(here)) is None or known[0] != time:
                        known = (time, _folders_in(here))
                except OSError:  # gone, or not to be read
                    known = (0, [])
                folders[here] = known
                pending += known[1]
        self._folders = folders
        return {path: time for path, (time, _) in folders.items()}

    # --- decisions ---

    @property
    def decisions_file(self) -> Path:
        return self.folder / DECISIONS

    def decisions(self) -> Mapping[str, Decision]:
        """By digest."""
        return read_decisions(self.decisions_file)

    def decide(self, image: Listed, kind: Kind | None, label: str = "") -> None:
        """Decide about an image, or (None) take back what was decided.

        Raises: ConfigError for a label that cannot name a class, and is none that there is: a table's may
        have any."""
        if kind == "relabel" and not is_name(label) and not (label and label in self.listing().by_class):
            raise ConfigError(f"a class is named by {NAME_RULE}")
        digest = self.digest(image)
        with self.alone():
            decisions = dict(self.decisions())
            before = decisions.pop(digest, None)
            if kind is not None:
                label = label if kind == "relabel" else ""
                decisions[digest] = Decision(digest=digest, kind=kind, label=label, name=image.name)
            step = Step(
                digest=digest,
                name=image.name,
                kind=before.kind if before else "none",
                label=before.label if before else "",
            )
            self._write_steps([*self._steps(), step])
            write_decisions(self.decisions_file, decisions.values())

    def undo(self) -> str | None:
        """Take the last decision back; the image's name, None where there is none to take back."""
        with self.alone():
            steps = self._steps()
            if not steps:
                return None
            step = steps.pop()
            decisions = dict(self.decisions())
            decisions.pop(step.digest, None)
            if step.kind != "none":
                decisions[step.digest] = Decision(
                    digest=step.digest, kind=step.kind, label=step.label, name=step.name
                )
            write_decisions(self.decisions_file, decisions.values())
            self._write_steps(steps)
            return step.name

    @property
    def can_undo(self) -> bool:
        return bool(self._steps())

    def _write_steps(self, steps: Sequence[Step]) -> None:
        values = [each.model_dump() for each in steps[-_UNDONE:]]
        store.write_sealed(self.folder / "undo.json", {"steps": values})

    def _steps(self) -> list[Step]:
        path = self.folder / "undo.json"
        try:
            return store.read_as(_Undo, path).steps if path.exists() else []
        except StoreError:
            return []

    def digest(self, image: Listed) -> str:
        """SHA-256 of an image's file; of a file that is too large to be decoded, none.

        Raises: DataError, also for what is no regular file or lies outside the opened folder."""
        path = real_below(image.path, image.root)
        try:
            facts = os.stat(path)
            if not stat.S_ISREG(facts.st_mode):
                raise DataError("it is no regular file; remove it from the folder")
            key = (path, facts.st_size, facts.st_mtime_ns)
            if key not in self._digests:
                if facts.st_size > _HASH_BYTES:
                    raise DataError("the file is too large to be decided on")
                self._digests[key] = sha256_of_file(Path(path))
        except OSError as error:
            raise DataError(f"the file cannot be read ({error.strerror})") from error
        return self._digests[key]

    # --- commands ---

    def check_command(self) -> list[str]:
        """`headstart data check` of these images, after the word headstart."""
        command = ["data", "check", str(self.source), "--out", str(self.folder / "check")]
        if self.decisions_file.exists():
            command += ["--decisions", str(self.decisions_file)]
        return [*command, *self._grouping()]

    def advise_command(self) -> list[str]:
        """`headstart advise` on these images, after the word headstart."""
        minutes = f"{self.settings.minutes:g}"
        command = ["advise", str(self.source), "--minutes", minutes, "--out", str(self.folder)]
        return [*command, *self._grouping()]

    def _grouping(self) -> list[str]:
        settings = self.settings
        return ["--group-regex", settings.group_regex] if settings.together and settings.group_regex else []


def in_words(command: list[str]) -> str:
    """A command as it is typed."""
    return shlex.join(["headstart", *command])


def _folders_in(folder: str) -> list[str]:
    """The folders in a folder, none of them a link; of a file, none."""
    try:
        with os.scandir(folder) as children:
            return [child.path for child in children if child.is_dir(follow_symlinks=False)]
    except NotADirectoryError:
        return []
