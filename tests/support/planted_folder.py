"""A folder of real CIFAR-10 images with everything in it that goes wrong in real folders, each planted on
purpose."""

from __future__ import annotations

import io
import shutil
import struct
import unicodedata
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from headstart.data import load_dataset

# Unicode class names; "Vögel" is written in one Unicode form below train and in another below test.
CLASS_NAMES = ("airplane", "automobile", "Vögel", "cat", "deer", "dog", "frog", "horse", "船", "truck")
_TEST_SHARE = 0.2
_TURNED = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_90",
    7: "TRANSVERSE",
    8: "ROTATE_270",
}  # how upright pixels are stored under each EXIF orientation


@dataclass(kw_only=True)
class Planted:
    """Where everything is; names are paths below `root` with "/" between.

    exact, near: (name in train, name of its copy in test). mislabelled: name -> true class. bad: name -> a
    word of the reason.
    handled: name -> (pixels uint8 (H, W, 3) that must come out, grey levels that the mean may differ by).
    ignored: files."""

    root: Path
    files: int = 0
    exact: list[tuple[str, str]] = field(default_factory=list)
    near: list[tuple[str, str]] = field(default_factory=list)
    mislabelled: dict[str, str] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    handled: dict[str, tuple[NDArray[np.uint8], float]] = field(default_factory=dict)
    orientations: list[str] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)


def plant(root: Path, *, images: int = 300, copies: int = 20, mislabelled: int = 15) -> Planted:
    """Writes train/ and test/ with `images` real images a class and all that is planted; CIFAR-10 training
    images, fixed draw."""
    train = load_dataset("cifar10").train
    rng = np.random.default_rng(7)
    planted = Planted(root=root)
    spare: dict[int, list[NDArray[np.uint8]]] = {}
    for label, name in enumerate(CLASS_NAMES):
        places = rng.permutation(np.flatnonzero(train.labels == label))
        for number, place in enumerate(places[:images]):
            part = "test" if number < round(_TEST_SHARE * images) else "train"
            file = _class_folder(root, part, name) / f"{number:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(train.images[place]).save(file)
        spare[label] = [train.images[place] for place in places[images : images + 40]]
    _plant_copies(planted, images, copies)
    _plant_wrong_labels(planted, spare, mislabelled)
    _plant_odd_files(planted, spare)
    _plant_bad_files(planted)
    _plant_junk(planted)
    planted.files = 10 * images + 2 * copies + mislabelled + len(planted.handled) + len(planted.bad)
    return planted


def _class_folder(root: Path, part: str, name: str) -> Path:
    return root / part / unicodedata.normalize("NFD" if part == "test" else "NFC", name)


def _name(planted: Planted, file: Path) -> str:
    return file.relative_to(planted.root).as_posix()


def _plant_copies(planted: Planted, images: int, copies: int) -> None:
    for number in range(copies):
        home = CLASS_NAMES[number % 10]
        for kind, found in (("exact", planted.exact), ("near", planted.near)):
            place = images - 1 - number - (copies if kind == "near" else 0)
            source = _class_folder(planted.root, "train", home) / f"{place:04d}.png"
            target = (
                _class_folder(planted.root, "test", home)
                / f"{kind}_copy_{number:02d}.{'png' if kind == 'exact' else 'jpg'}"
            )
            if kind == "exact":
                shutil.copyfile(source, target)
            else:
                _save_again(Image.open(source).convert("RGB"), number).save(
                    target, "JPEG", quality=(60, 75, 90, 80)[number % 4]
                )
            found.append((_name(planted, source), _name(planted, target)))


def _save_again(image: Image.Image, number: int) -> Image.Image:
    if number % 4 == 1:
        return image.resize((48, 48), Image.Resampling.BICUBIC)
    if number % 4 == 2:
        return image.resize((128, 128), Image.Resampling.BICUBIC).crop((3, 3, 125, 125))
    return ImageEnhance.Brightness(image).enhance(1.15) if number % 4 == 3 else image


def _plant_wrong_labels(planted: Planted, spare: dict[int, list[NDArray[np.uint8]]], count: int) -> None:
    for number in range(count):
        true = number % 10
        wrong = (true + 3 + number // 10) % 10
        file = _class_folder(planted.root, "train", CLASS_NAMES[wrong]) / f"wrong_{number:02d}.png"
        Image.fromarray(spare[true].pop()).save(file)
        planted.mislabelled[_name(planted, file)] = CLASS_NAMES[true]


def _plant_odd_files(planted: Planted, spare: dict[int, list[NDArray[np.uint8]]]) -> None:
    """Files that must be read, each in its own way: a frog, and eight horses turned."""
    frogs = _class_folder(planted.root, "train", "frog")

    def keep(file: Path, pixels: NDArray[np.uint8], tolerance: float) -> None:
        planted.handled[_name(planted, file)] = (pixels, tolerance)

    picture = spare[6].pop()
    Image.fromarray(picture).convert("CMYK").save(frogs / "cmyk.jpg", quality=95)
    keep(frogs / "cmyk.jpg", picture, 6)
    picture = spare[6].pop()
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(frogs / "sixteen_bit.png")
    keep(frogs / "sixteen_bit.png", np.repeat(grey[..., None], 3, axis=2), 0)
    picture = spare[6].pop()
    palette = Image.fromarray(picture).quantize(16, dither=Image.Dither.NONE)
    shown = np.array(palette.convert("RGB"))
    hidden = int(np.asarray(palette)[0, 0])
    shown[np.asarray(palette) == hidden] = 255
    palette.save(frogs / "palette_alpha.png", transparency=hidden)
    keep(frogs / "palette_alpha.png", shown, 0)
    frames = [Image.fromarray(spare[6].pop()).quantize(256, dither=Image.Dither.NONE) for _ in range(3)]
    frames[0].save(frogs / "animated.gif", save_all=True, append_images=frames[1:], duration=100)
    keep(frogs / "animated.gif", np.array(frames[0].convert("RGB")), 0)
    for orientation in range(1, 9):
        picture = spare[7].pop()
        file = _class_folder(planted.root, "train", "horse") / f"orientation_{orientation}.png"
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(picture)
        if orientation > 1:
            stored = stored.transpose(Image.Transpose[_TURNED[orientation]])
        stored.save(file, exif=exif)
        keep(file, picture, 0)
        planted.orientations.append(_name(planted, file))


def _plant_bad_files(planted: Planted) -> None:
    home = _class_folder(planted.root, "train", "deer")
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(whole, "JPEG")
    half = whole.getvalue()[: len(whole.getvalue()) // 2]
    for name, content, word in (
        ("empty.jpg", b"", "empty"),
        ("truncated.jpg", half, "truncated"),
        ("text.jpg", "Nächstes Mal ein Bild.\n".encode() * 40, "text"),
        ("bomb.png", bomb(30_000), "30,000 x 30,000 pixels"),
    ):
        (home / name).write_bytes(content)
        planted.bad[_name(planted, home / name)] = word
    Image.new("RGB", (1, 1)).save(home / "dot.png")
    planted.bad[_name(planted, home / "dot.png")] = "too small"


def bomb(side: int) -> bytes:
    """A whole and valid grey PNG of side x side pixels, in about a thousandth of its size."""
    packer = zlib.compressobj(1)
    row = bytes(1 + side)
    packed = b"".join([packer.compress(row * 100) for _ in range(side // 100)] + [packer.flush()])

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _plant_junk(planted: Planted) -> None:
    cats = _class_folder(planted.root, "train", "cat")
    (cats / ".ipynb_checkpoints").mkdir()
    shutil.copyfile(
        cats / "0299.png" if (cats / "0299.png").exists() else next(cats.glob("*.png")),
        cats / ".ipynb_checkpoints" / "0299-checkpoint.png",
    )
    (cats / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (planted.root / "train" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (planted.root / "__MACOSX" / "train").mkdir(parents=True)
    (planted.root / "__MACOSX" / "train" / "._0001.png").write_bytes(b"\0\5\26\7")
    (cats / "notes.txt").write_text("to do")
    (cats / "loop").symlink_to(planted.root, target_is_directory=True)
    (cats / "self").symlink_to("self")
    planted.ignored = {
        "hidden or junk": 4,
        "no images by their content": 1,
        "links to nothing": 1,
        "links back into a folder that is read already": 1,
    }
