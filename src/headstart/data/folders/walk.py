"""Walk folders for images: one reader for checks, training, prediction and shift sets.

Content decides what is an image where the suffix does not say so. What is left out is counted by reason, with
the first names.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.folders.sniff import HEAD_BYTES, is_image
from headstart.errors import DataError
from headstart.runtime.show import printable, shown

IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".gif",
    ".webp",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".hif",
    ".avif",
    ".jp2",
    ".j2k",
    ".ppm",
    ".pgm",
    ".pnm",
    ".mpo",
)
_JUNK = {
    "thumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "ehthumbs.db",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "#recycle",
    "#snapshot",
    "@recycle",
    "@recently-snapshot",
    "__pycache__",
    "icon\r",
}
# Endings of copies and of files that a program has not finished writing.
_UNFINISHED = re.compile(
    r"~$|\.(part|partial|crdownload|opdownload|download|te?mp|bak|old|orig|swp)$", re.IGNORECASE
)
_RAW = re.compile(r"\.(cr2|cr3|nef|arw|dng|orf|rw2|raf|pef|srw)$", re.IGNORECASE)  # TIFFs inside, of previews
_OTHER_FORMATS = (
    *(
        ".tga",
        ".ico",
        ".icns",
        ".psd",
        ".xcf",
        ".svg",
        ".eps",
        ".pdf",
        ".pcx",
        ".dds",
        ".sgi",
        ".jxl",
        ".exr",
    ),
    *(".hdr", ".dcm", ".dicom", ".nii", ".nii.gz", ".fits", ".fit", ".npy", ".npz"),
)
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_SYSTEM = ("/proc", "/sys", "/dev", "/boot", "/etc", "/bin", "/sbin", "/lib", "/run", "/System", "/Library")
_DEVICES = _SYSTEM[:3]
_FOR_FILES = ("/dev/shm", "/run/media", "/run/user")
_NAMED = 20  # files of each reason that are remembered by name

JUNK = "hidden or junk"
LOOP = "links back into a folder that is read already"
SYSTEM_LINK = "system folders or links into them"
DEAD_LINK = "links to nothing"
NO_IMAGE = "no images by their content"
OTHER_FORMAT = "images or arrays in formats that are not read"
ARCHIVE = "archives that are not unpacked"
ODD = "backups, unfinished downloads or odd suffixes"
RAW = "raw files of cameras"
UNREADABLE_FOLDER = "in folders that cannot be read"
OUTSIDE = "outside the class folders"
LOOSE = "images outside the class folders"
# What to do about files that were left out; the reasons that are not here are no cause for worry.
ADVICE = {
    LOOSE: "move them into class folders",
    ODD: "rename or convert those that are images",
    RAW: "convert them to JPEG or PNG",
    OTHER_FORMAT: "save those that are images as PNG or JPEG",
    ARCHIVE: "unpack those that hold images",
    DEAD_LINK: "mend or remove the links",
    SYSTEM_LINK: "copy the images themselves there",
    UNREADABLE_FOLDER: "change the permissions of these folders",
}


@dataclass(kw_only=True)
class LeftOut:
    """Files that were left out: how many for each reason, and the first names."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)
    by_content: int = 0  # not left out: images without a suffix that says so

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count a file, or a folder of so many."""
        self.counts[reason] += count
        names = self.names.setdefault(reason, [])
        if len(names) < _NAMED:
            names.append(printable(name))

    def advice(self) -> str:
        """What to do about them, each after a semicolon; empty where nothing need be done."""
        return "".join(f"; {ADVICE[reason]}" for reason in self.counts if reason in ADVICE)

    def words(self) -> str:
        """How many for each reason, with a name, in one line; empty where nothing was left out."""
        return ", ".join(
            f"{count:,} {reason} ({shown(self.names[reason][0])}{', ...' if count > 1 else ''})"
            for reason, count in self.counts.items()
        )


def walk_images(folder: Path, root: Path, left_out: LeftOut) -> list[Path]:
    """The image files in a folder, however deep: each folder's own by name, then those of its folders.

    Links to folders are followed, but into a real folder once only, never into one that holds the root, and
    never into a folder of the system. root: names in left_out are relative to it."""
    entered = {_identity(place) for place in (root.resolve(), *root.resolve().parents)}
    if _of_devices(folder):
        left_out.add(SYSTEM_LINK, _named(folder, root))
        return []
    images: list[Path] = []
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            identity = _identity(here)
            if identity in entered and here != root:
                left_out.add(LOOP, _named(here, root))
                continue
            entered.add(identity)
            children = sorted(os.scandir(here), key=lambda child: child.name)
        except OSError:
            left_out.add(UNREADABLE_FOLDER, _named(here, root))
            continue
        inner: list[Path] = []
        for child in children:
            path = here / child.name
            if is_junk(child.name):
                left_out.add(JUNK, _named(path, root), count_files(path))
            elif _is_folder(child):
                if (child.is_symlink() and leads_into_system(path)) or _of_devices(path):
                    left_out.add(SYSTEM_LINK, _named(path, root))
                else:
                    inner.append(path)
            elif takes(path, root, left_out):
                images.append(path)
        pending += reversed(inner)
    return images


def sub_folders(folder: Path, left_out: LeftOut) -> list[Path]:
    """List the folders in a folder, sorted; count its files as left out."""
    homes = []
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); change its permissions") from error
    for child in children:
        if is_junk(child.name):
            left_out.add(JUNK, child.name, count_files(child))
        elif os.path.islink(child) and leads_into_system(child):
            left_out.add(SYSTEM_LINK, child.name)
        elif os.path.isdir(child):
            homes.append(child)
        elif os.path.islink(child) and not os.path.exists(child):
            left_out.add(DEAD_LINK, child.name)
        else:
            left_out.add(_reason_outside(child.name.lower()), child.name)
    return homes


def takes(path: Path, root: Path, left_out: LeftOut) -> bool:
    """Whether a file is to be read as an image; else it is counted among what is left out."""
    name = path.name.lower()
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    if _UNFINISHED.search(name) or _has_odd_suffix(name):
        left_out.add(ODD, _named(path, root))
    elif _RAW.search(name):
        left_out.add(RAW, _named(path, root))
    elif os.path.islink(path) and not os.path.exists(path):  # also where looking is not allowed
        left_out.add(DEAD_LINK, _named(path, root))
    elif looks_like_image(path):
        left_out.by_content += 1
        return True
    else:
        left_out.add(_reason_not_read(name) or NO_IMAGE, _named(path, root))
    return False


def _reason_outside(name: str) -> str:
    return LOOSE if name.endswith(IMAGE_SUFFIXES) else _reason_not_read(name) or OUTSIDE


def _reason_not_read(name: str) -> str:
    """Why a file that may well hold images is left out, by its suffix; empty for any other."""
    if name.endswith(_OTHER_FORMATS):
        return OTHER_FORMAT
    return ARCHIVE if name.endswith(ARCHIVE_SUFFIXES) else ""


def _has_odd_suffix(name: str) -> bool:
    """Whether something was written behind an image's suffix: photo.jpg_large, photo.jpg?width=300."""
    suffix = name[name.rfind(".") :] if "." in name else ""
    return any(
        suffix.startswith(image_suffix) and not suffix[len(image_suffix)].isalnum()
        for image_suffix in IMAGE_SUFFIXES
        if len(suffix) > len(image_suffix)
    )


def looks_like_image(path: Path) -> bool:
    """Whether a file's first bytes are those of an image."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            return stat.S_ISREG(os.fstat(handle).st_mode) and is_image(file.read(HEAD_BYTES))
    except OSError:
        return False


def is_junk(name: str) -> bool:
    """Whether a file or folder is something that an operating system or an editor left there."""
    return name.startswith(".") or name.lower() in _JUNK


def count_files(path: Path) -> int:
    """The number of files in a folder, at least 1; 1 for a file."""
    if os.path.islink(path) or not os.path.isdir(path):
        return 1
    return max(1, sum(len(files) for _, _, files in os.walk(path)))


def leads_into_system(link: Path) -> bool:
    """Whether a path, its links followed, lies in a folder of the operating system; disks that were put in
    and memory that serves as a disk do not count."""
    target = os.path.realpath(link)
    return target == "/" or (_is_in(target, _SYSTEM) and not _is_in(target, _FOR_FILES))


def _of_devices(folder: Path) -> bool:
    """Whether a folder holds what the system says of itself and its devices, and no files."""
    target = os.path.realpath(folder)
    return _is_in(target, _DEVICES) and not _is_in(target, _FOR_FILES)


def _is_in(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in folders)


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: Path) -> tuple[int, int] | str:
    facts = folder.stat()
    if not stat.S_ISDIR(facts.st_mode):
        raise NotADirectoryError(str(folder))
    return (facts.st_dev, facts.st_ino) if facts.st_ino else str(folder.resolve())


def _named(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def real_below(path: str, root: str) -> str:
    """The real path of a file. Raises: DataError where it lies outside the root, also by a link."""
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(os.path.realpath(root)):
        raise DataError("the file lies outside the opened folder")
    return real
