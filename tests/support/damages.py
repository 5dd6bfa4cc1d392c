"""Seeded damages to the bytes of a file: what disks, cut downloads, careless tools and hostile people do.

A damage knows the format: it changes bits, but also values inside JSON, arrays inside archives and the
description inside safetensors, so that what lies behind a checksum is reached too.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

import numpy as np

from headstart.store.files import json_bytes
from headstart.store.sealed import SEAL

FOREIGN = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"schema": 999}',
    b"\xff\xfe" * 500,
    b"name = 1\n",
    b"PK\x03\x04" + bytes(40),
    b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}",
    b"%!PS-Adobe-3.0 EPSF-3.0\n",
    b"\x80\x04\x95cposix\nsystem\n",
    (10**9).to_bytes(8, "little") + b"{",
)
HOSTILE_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1e308,
    "",
    "../../etc/passwd",
    "/tmp/x",
    "a\x00b",
    "\x1b[2J",
    "\ud800",
    "x" * 100_000,
    [],
    {},
    [[[[[[]]]]]],
    {"a": {"b": {}}},
    [1] * 10_000,
    "http://127.0.0.1:9/x.pth",
)


def damaged(content: bytes, random_: random.Random) -> bytes:
    """The content after one damage, drawn from all that fit it."""
    ways = [_flip, _cut, _zero, _repeat, _swap, _extend, _foreign]
    content = _without_seal(content, random_)
    if _json_of(content) is not None:
        ways += [_json, _json, _json, _json_text]
    if content[:4] == b"PK\x03\x04":
        ways += [_npz, _npz, _npz]
    if _header_of(content) is not None:
        ways += [_safetensors, _safetensors, _safetensors]
    return random_.choice(ways)(content, random_)


def _without_seal(content: bytes, random_: random.Random) -> bytes:
    """Three times of four without the digest of a JSON object, which would hide what lies behind it."""
    value = _json_of(content)
    if not isinstance(value, dict) or SEAL not in value or random_.random() < 0.25:
        return content
    del value[SEAL]
    return json_bytes(value)


def raw_damage(content: bytes, random_: random.Random) -> bytes:
    """The content after a damage that knows nothing of its format."""
    return random_.choice((_flip, _cut, _zero, _repeat, _swap, _extend, _foreign))(content, random_)


def _span(content: bytes, random_: random.Random) -> tuple[int, int]:
    start = random_.randrange(len(content) + 1)
    return start, min(len(content), start + random_.choice((1, 4, 16, 256, 4096)))


def _flip(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random_.choice((1, 1, 2, 8))):
        if changed:
            changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    return bytes(changed)


def _cut(content: bytes, random_: random.Random) -> bytes:
    return content[: random_.randrange(len(content) + 1)]


def _zero(content: bytes, random_: random.Random) -> bytes:
    start, stop = _span(content, random_)
    return content[:start] + bytes(stop - start) + content[stop:]


def _repeat(content: bytes, random_: random.Random) -> bytes:
    start, stop = _span(content, random_)
    return content[:stop] + content[start:stop] + content[stop:]


def _swap(content: bytes, random_: random.Random) -> bytes:
    middle = random_.randrange(len(content) + 1)
    return content[middle:] + content[:middle]


def _extend(content: bytes, random_: random.Random) -> bytes:
    return content + random_.choice((b"\n", b"\x00" * 100, b"}", content[:1000]))


def _foreign(_: bytes, random_: random.Random) -> bytes:
    return random_.choice(FOREIGN)


def _json_of(content: bytes) -> Any:
    """The value of a JSON text, or the values of JSON lines; None for what is neither."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _json(content: bytes, random_: random.Random) -> bytes:
    return json.dumps(_with_hostile_value(_json_of(content), random_)).encode(errors="surrogatepass")


def _json_text(content: bytes, random_: random.Random) -> bytes:
    """A number becomes one that JSON's own text allows and Python does not hold, or NaN."""
    text = content.decode(errors="replace")
    places = [place for place, letter in enumerate(text) if letter.isdigit()]
    if not places:
        return content
    place = random_.choice(places)
    number = random_.choice(("NaN", "Infinity", "1e999", "9" * 5000, "-0", "0x10", "1_0"))
    return (text[:place] + number + text[place + 1 :]).encode()


def _with_hostile_value(value: Any, random_: random.Random) -> Any:
    """The value with one part, at any depth, replaced, taken out or doubled."""
    if not isinstance(value, dict | list) or not value or random_.random() < 0.15:
        return random_.choice(HOSTILE_VALUES)
    names = list(value) if isinstance(value, dict) else list(range(len(value)))
    name, copy = random_.choice(names), value.copy()
    act = random_.random()
    if act < 0.15:
        del copy[name]
    elif act < 0.25 and isinstance(copy, dict):
        copy[random_.choice(("extra", "__class__", "../x"))] = copy[name]
    elif act < 0.25:
        copy.insert(name, copy[name])
    else:
        copy[name] = _with_hostile_value(copy[name], random_)
    return copy


def _npz(content: bytes, random_: random.Random) -> bytes:
    """One array of an archive is another one: other shape, type, values, none at all or one more."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name.filename: archive.read(name) for name in archive.infolist()}
    except Exception:
        return content
    name = random_.choice(sorted(arrays))
    act = random_.randrange(5)
    if act == 0:
        del arrays[name]
    elif act == 1:
        arrays["extra.npy"] = arrays[name]
    elif act == 2:
        arrays[name] = damaged(arrays[name], random_)
    else:
        try:
            array = np.load(io.BytesIO(arrays[name]))
        except Exception:
            return content
        buffer = io.BytesIO()
        np.save(buffer, _other(array, random_), allow_pickle=True)
        arrays[name] = buffer.getvalue()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, array_bytes in arrays.items():
            archive.writestr(each, array_bytes)
    return written.getvalue()


def _other(array: np.ndarray, random_: random.Random) -> np.ndarray:
    flat = array.ravel()
    choices = [
        array[..., None],
        flat,
        array[:0] if array.ndim else flat,
        array.astype("U8"),
        np.array(0),
        np.array([{}], dtype=object),
        np.zeros((3, 0), array.dtype if array.dtype.kind in "iuf" else np.float32),
    ]
    if array.dtype.kind in "iuf":
        choices += [
            array.astype(np.float64) * np.nan,
            (array.astype(np.float64) * 1e300),
            array.astype(np.complex64),
            array.astype(np.int64) - 10**6,
            array.astype(np.int64) + 10**6,
            array.astype(bool),
            array.astype(">f4"),
            array[::-1] if array.ndim else array + 1,
        ]
    return np.asarray(random_.choice(choices))


def _header_of(content: bytes) -> Any:
    if len(content) < 8 or int.from_bytes(content[:8], "little") > len(content) - 8:
        return None
    return _json_of(content[8 : 8 + int.from_bytes(content[:8], "little")])


def _safetensors(content: bytes, random_: random.Random) -> bytes:
    """The header says something else; a description that is JSON inside it is changed inside too."""
    header, size = _header_of(content), int.from_bytes(content[:8], "little")
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(metadata, dict) and metadata and random_.random() < 0.7:
        name = random_.choice(sorted(metadata))
        inner = _json_of(str(metadata[name]).encode(errors="replace"))
        if isinstance(inner, dict):
            inner = dict(inner)
            if random_.random() < 0.7:
                inner.pop("sha256", None)  # who writes a file may leave it out
            changed = json.dumps(_with_hostile_value(inner, random_))
        else:
            changed = str(random_.choice(HOSTILE_VALUES))
        kept = dict(metadata)
        if random_.random() < 0.5:
            kept.pop("sha256", None)
        header = header | {"__metadata__": kept | {name: changed}}
    else:
        header = _with_hostile_value(header, random_)
    text = json.dumps(header).encode(errors="replace")
    return len(text).to_bytes(8, "little") + text + content[8 + size :]
