"""The door for all that is read back: bounded in size, depth and expansion, and one kind of error for all
that can be wrong with a file."""

from __future__ import annotations

import io
import json
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from headstart.errors import DamagedError, StoreError
from headstart.store.opening import open_file
from headstart.store.sealed import unsealed

Arrays = dict[str, NDArray[Any]]
_Model = TypeVar("_Model", bound=BaseModel)

MOST_BYTES = 64_000_000  # of a file that is parsed as a whole; the largest of a published study has 50 KB
DEEPEST = 64  # levels of a JSON value; our own have 6
_MOST_ARRAYS = 1_000
# What arrays may take in memory: either is enough. Logits shrink to a half in a file, images to a tenth.
_ALWAYS_BYTES, _MOST_EXPANSION = 64_000_000, 64
_NO_NUMBER = "NaN and Infinity are no JSON"
_REMEDY = "put the file back as it was"


def read_bytes(path: Path, limit_bytes: int = MOST_BYTES, remedy: str = _REMEDY) -> bytes:
    """A file's content. Raises: StoreError where it cannot be read; DamagedError where it is larger than the
    limit."""
    try:
        with open_file(path) as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > limit_bytes:
        raise DamagedError(
            f"{path} has more than {limit_bytes:,} bytes, which no file of its kind has; {remedy}"
        )
    return content


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises: ValueError where it is damaged, nested too deeply or holds NaN."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if "\\ud" in (text if isinstance(text, str) else text.decode(errors="replace")).lower():
        _refuse_halves(value)
    level, deepest = [value], 0
    while level := [part for each in level for part in _parts(each)]:
        deepest += 1
        if deepest > DEEPEST:
            raise ValueError("nested too deeply")
    return value


def _refuse_halves(value: Any) -> None:
    """Raises: ValueError for half of a surrogate pair: text that no file and no terminal takes."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise ValueError("half of a surrogate pair, or nested too deeply") from error


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse(constant: str) -> float:
    raise ValueError(f"{_NO_NUMBER}, got {constant}")


def read_json(path: Path, remedy: str = _REMEDY) -> Any:
    """The value in a JSON file.

    remedy: what the user should do with a damaged file; it ends the error's sentence.
    Raises: StoreError where it is missing; DamagedError where it is damaged, or is an object that carries
    another digest than its own (`sealed`)."""
    try:
        value = parse_json(read_bytes(path, remedy=remedy))
        return unsealed(value) if isinstance(value, dict) else value
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({_short(error)}); {remedy}") from error


def read_table(path: Path, remedy: str = _REMEDY) -> dict[str, Any]:
    """The JSON object in a file. Raises: as read_json; DamagedError where it holds another value."""
    value = read_json(path, remedy)
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged (it holds no JSON object); {remedy}")
    return value


def read_as(model: type[_Model], path: Path, remedy: str = _REMEDY) -> _Model:
    """The JSON object in a file, checked. Raises: as read_json; DamagedError where it is none of these
    objects."""
    return checked(model, read_table(path, remedy), path, remedy)


def checked(model: type[_Model], value: Any, path: Path, remedy: str = _REMEDY) -> _Model:
    """A value that a file holds, as one of the model. Raises: DamagedError naming the file and the field."""
    try:
        return model.model_validate(value)
    except (ValidationError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({first_fault(error)}); {remedy}") from error


def first_fault(error: ValidationError | RecursionError) -> str:
    """The first thing that is wrong with a value, in a few words."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(step) for step in first["loc"]) or "the whole"
    return f"{place[:100]}: {first['msg'][:200]}"


def read_npz(
    path: Path, remedy: str, names: Iterable[str] | None = None, wanted: Callable[[str], bool] | None = None
) -> Arrays:
    """The arrays in an .npz file; with `names` those alone, with `wanted` those that it says yes to: no other
    is decompressed.

    remedy: what the user should do with a damaged file; it ends the error's sentence. No pickle is read.
    Raises: StoreError where the file is missing; DamagedError where a name is missing, the file is damaged,
    or the arrays would take far more memory than the file's size allows."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = _bounded_members(archive, file.seek(0, 2))
            chosen = names if names is not None else filter(wanted, members) if wanted else members
            return {name: _array(archive.read(members[name])) for name in chosen}
    except FileNotFoundError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; {remedy}") from error
    except _NPZ_ERRORS as error:
        raise DamagedError(f"cannot read {path}: {_short(error)}; {remedy}") from error


# What numpy and zipfile raise on damaged files; NotImplementedError: another compression, RuntimeError: a
# password.
_NPZ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    SyntaxError,
    MemoryError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def _bounded_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The arrays in an archive of `size` bytes, by name.

    zipfile reads no more of a member than the archive's table says: so much memory they take together.
    Raises: ValueError where that is more than is plausible."""
    members = archive.infolist()
    if len(members) > _MOST_ARRAYS:
        raise ValueError(f"{len(members)} arrays, more than {_MOST_ARRAYS}")
    total = sum(member.file_size for member in members)
    if total > max(_ALWAYS_BYTES, _MOST_EXPANSION * size):
        raise ValueError(f"{size:,} bytes would expand to {total:,}")
    return {member.filename.removesuffix(".npy"): member for member in members}


def _array(content: bytes) -> NDArray[Any]:
    """The array in the bytes of an .npy file. Raises: ValueError where its header promises other bytes, or
    Python objects."""
    file = io.BytesIO(content)
    shape, fortran, dtype = _header(file, len(content))
    flat = np.frombuffer(content, dtype=dtype, offset=file.tell(), count=math.prod(shape)).copy()
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array in .npy form; the file then stands at its values. size: of the file.

    Raises: ValueError where the header promises other bytes than there are, or Python objects."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which is never read")
    wanted, left = dtype.itemsize * math.prod(shape), size - file.tell()
    if any(side < 0 for side in shape) or wanted != left:
        raise ValueError(f"an array of {wanted:,} bytes in {left:,}")
    return shape, fortran, dtype


def read_npy(path: Path, remedy: str = _REMEDY, mapped: bool = False) -> NDArray[Any]:
    """The array in an .npy file, memory-mapped and read-only where asked for.

    No pickle is read. Raises: StoreError where it is missing; DamagedError where it is damaged."""
    try:
        with open_file(path) as file:
            _header(file, path.stat().st_size)
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return array
    except FileNotFoundError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; {remedy}") from error
    except _NPZ_ERRORS as error:
        raise DamagedError(f"cannot read {path}: {_short(error)}; {remedy}") from error


def _short(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).replace("\n", " ")[:200]
