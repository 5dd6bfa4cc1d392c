"""The lines of Python in a model card: they read images as `headstart predict` does, without headstart."""

from __future__ import annotations

from headstart.models.saved import SavedModel

_READ = '''import io, json
import numpy as np
from PIL import Image, ImageCms, ImageOps

SIZE, FIT = {size}, {fit!r}
BLACK_AND_WHITE = {ranges!r}  # of files with more than 8 bits; None: by the bits that a file uses


def to_srgb(image, profile):
    if not profile or image.mode not in ("RGB", "L", "CMYK"):
        return image
    try:
        own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        return ImageCms.profileToProfile(image, own, srgb, outputMode="RGB")
    except ImageCms.PyCMSError:
        return image


def own_range(values, kind):
    low, high = map(float, np.percentile(values[np.isfinite(values)], (0.1, 99.9)))
    if low < 0:
        return (-1.0, 1.0) if kind == "floats" and low >= -1.01 and high <= 1.01 else (low, high)
    steps = ([1.0] if kind == "floats" else []) + [2.0**bits - 1 for bits in range(8, 17)]
    white = next((step for step in steps if high <= step * 1.0001), high)
    if high == low:
        return 0.0, max(white, 1.0)
    return 0.0, high if high * 4 < white else white


def to_eight_bits(values, kind, inverted):
    low, high = BLACK_AND_WHITE[kind] or own_range(values, kind)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    shares = (np.clip(values, low, high) - low) / max(high - low, 1e-30)
    levels = np.floor(shares * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(255 - levels if inverted else levels).convert("RGB")


def read_photo(path):
    """uint8 (SIZE, SIZE, 3), RGB, as the training images were read."""
    with open(path, "rb") as file:
        image = Image.open(io.BytesIO(file.read()))
    image.draft(None, (1024, 1024))
    image.load()
    inverted = image.format == "TIFF" and image.tag_v2.get(262) == 0
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:
        pass  # broken metadata
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        kind = "floats" if image.mode == "F" else "integers"
        image = to_eight_bits(np.asarray(image).astype(np.float64), kind, inverted)
    elif image.has_transparency_data:
        layered = image.convert("RGBA")
        alpha, colours = layered.getchannel("A"), to_srgb(layered.convert("RGB"), profile)
        if alpha.getextrema()[1]:  # 0 everywhere: the stored colours
            grounds = [Image.new("RGB", colours.size, name) for name in ("white", "black")]
            for ground in grounds:
                ground.paste(colours, mask=alpha)
            on_white, on_black = (max(high - low for low, high in g.getextrema()) for g in grounds)
            colours = grounds[on_white <= 16 and on_black > max(3, 3 * on_white)]
        image = colours
    else:
        image = to_srgb(image, profile).convert("RGB")
    if FIT == "squash":
        return np.array(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    if FIT == "pad":
        sides = tuple(max(1, round(side * SIZE / max(image.size))) for side in image.size)
        ground = Image.new("RGB", (SIZE, SIZE), (128, 128, 128))
        place = tuple((SIZE - side) // 2 for side in sides)
        ground.paste(image.resize(sides, Image.Resampling.BICUBIC), place)
        return np.array(ground)
    return np.array(ImageOps.fit(image, (SIZE, SIZE), Image.Resampling.BICUBIC))

'''
_USE = {
    "onnx": """
import onnxruntime

session = onnxruntime.InferenceSession({file!r}, providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
(probabilities,) = session.run(None, {{"images": read_photo("photo.jpg")[None]}})
print(labels[probabilities[0].argmax()], probabilities[0].max())""",
    "torchscript": """
import torch

files = {{"labels.txt": ""}}
model = torch.jit.load({file!r}, _extra_files=files)
labels = json.loads(files["labels.txt"])
with torch.no_grad():
    probabilities = model(torch.from_numpy(read_photo("photo.jpg")[None])).numpy()
print(labels[probabilities[0].argmax()], probabilities[0].max())""",
}


def card_code(saved: SavedModel, format: str, file: str) -> str:
    """Lines that read a file photo.jpg and print its likeliest class. file: the exported model's name."""
    reading = saved.reading
    ranges = {"integers": reading.integer_range, "floats": reading.float_range}
    read = _READ.format(size=saved.image_pixels, fit=reading.fit, ranges=ranges)
    return read + _USE[format].format(file=file)
