"""Each corruption against what its description says, worked out in another way; all of them seeded, shaped
and dosed."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy import ndimage

from headstart.data import load_dataset
from headstart.errors import ConfigError
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES, blur, corrupt, digital, pixels, weather


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def grey(value: int, count: int = 40, side: int = 32) -> np.ndarray:
    return np.full((count, side, side, 3), value, np.uint8)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """Real training images, uint8 (100, 32, 32, 3)."""
    return np.array(load_dataset("cifar10").train.images[:100])


# ---------------------------------------------------------------- all of them


def test_there_are_fifteen_in_the_papers_order_and_families() -> None:
    assert list(CORRUPTIONS) == [
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "snow",
        "frost",
        "fog",
        "brightness",
        "contrast",
        "elastic_transform",
        "pixelate",
        "jpeg_compression",
    ]
    families = [each.family for each in CORRUPTIONS.values()]
    assert families == ["noise"] * 3 + ["blur"] * 4 + ["weather"] * 4 + ["digital"] * 4
    assert all(len(each.constants) == 5 for each in CORRUPTIONS.values())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_shape_and_type_stay_pixels_change_and_the_seed_decides_which(name: str, photos: np.ndarray) -> None:
    before = photos[:6].copy()
    for severity in SEVERITIES:
        first, again = (corrupt(photos[:6], name, severity, rng(severity)) for _ in range(2))
        assert first.shape == photos[:6].shape and first.dtype == np.uint8
        assert (first == again).all()
        assert (first != before).any(axis=(1, 2, 3)).all() or (name, severity) == ("glass_blur", 1), severity
    assert (photos[:6] == before).all()  # what was given stays
    seedless = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert (corrupt(photos[:6], name, 5, rng(5)) == corrupt(photos[:6], name, 5, rng(6))).all() == (
        name in seedless
    )


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_need_not_be_square_or_small(name: str) -> None:
    image = rng().integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    assert corrupt(image, name, 3, rng()).shape == image.shape
    assert corrupt(image[:0], name, 3, rng()).shape == (0, 40, 56, 3)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"glass_blur", "elastic_transform", "frost"}))
def test_severity_takes_images_further_from_what_they_were(name: str, photos: np.ndarray) -> None:
    """Glass blur, elastic and frost trade one constant for another between severities: nearer in grey levels,
    harder to see."""
    far = [
        np.abs(corrupt(photos, name, severity, rng()).astype(int) - photos).mean() for severity in SEVERITIES
    ]
    assert far == sorted(far) and far[0] > 0.3, far


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown corruption 'frosst' \(did you mean 'frost'\?\)"):
        corrupt(grey(0, 1), "frosst", 1, rng())
    with pytest.raises(ConfigError, match="severity 6 is not one of 1, 2, 3, 4, 5"):
        corrupt(grey(0, 1), "fog", 6, rng())
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, H, W, 3\), got float64 \(1, 2, 2, 3\)"):
        corrupt(np.zeros((1, 2, 2, 3)), "fog", 1, rng())


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize(
    ("severity", "deviation"), list(zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True))
)
def test_gaussian_noise_has_its_standard_deviation(severity: int, deviation: float) -> None:
    noisy = corrupt(grey(128), "gaussian_noise", severity, rng()) / 255
    assert noisy.std() == pytest.approx(deviation, rel=0.01)
    assert noisy.mean() == pytest.approx(127.5 / 255, abs=1e-3)  # cut off, not rounded: half a level darker


@pytest.mark.parametrize(("severity", "photons"), list(zip(SEVERITIES, (500, 250, 100, 75, 50), strict=True)))
def test_shot_noise_has_the_variance_of_counted_photons(severity: int, photons: float) -> None:
    noisy = corrupt(grey(102), "shot_noise", severity, rng()) / 255
    assert noisy.var() == pytest.approx(
        0.4 / photons, rel=0.05
    )  # Poisson: variance of a share is share / photons


@pytest.mark.parametrize(
    ("severity", "amount"), list(zip(SEVERITIES, (0.01, 0.02, 0.03, 0.05, 0.07), strict=True))
)
def test_impulse_noise_hits_its_share_of_values_half_of_them_white(severity: int, amount: float) -> None:
    noisy = corrupt(grey(100, 100), "impulse_noise", severity, rng())
    hit = noisy != 100
    assert hit.mean() == pytest.approx(amount, rel=0.05)
    assert set(np.unique(noisy[hit])) == {0, 255}
    assert (noisy[hit] == 255).mean() == pytest.approx(0.5, abs=0.02)


# ---------------------------------------------------------------- blur


def test_defocus_spreads_a_point_over_a_disk() -> None:
    point = grey(0, 1)
    point[0, 16, 16] = 255
    # severity 5: radius 1.5 holds 3 x 3 pixels of 1/9; its smoothing of 0.1 pixels moves nothing
    spread = corrupt(point, "defocus_blur", 5, rng())[0, :, :, 0].astype(int)
    assert (spread[15:18, 15:18] == 28).all() and spread.sum() == 9 * 28  # 255 / 9, cut off
    # severity 3: one pixel, smoothed by 0.6: exp(-1 / 0.72) beside the middle
    side = np.exp(-1 / (2 * 0.6**2))
    line = np.array([side, 1, side]) / (1 + 2 * side)
    soft = corrupt(point, "defocus_blur", 3, rng())[0, 15:18, 15:18, 0]
    assert soft == pytest.approx(np.floor(255 * np.outer(line, line)))


def test_glass_blur_copies_neighbours_from_the_bottom_right_on() -> None:
    image = rng(1).integers(0, 256, (1, 9, 9, 3), dtype=np.uint8)
    shuffled = blur.glass(image, (0.05, 2), rng(7))  # a blur of 0.05 pixels is none
    moves, expected = rng(7), image[0].copy()
    for _ in range(2):
        up, left = moves.integers(-1, 1, (2, 1, 7, 7))
        for row in range(8, 1, -1):  # the very order of the published loop
            for column in range(8, 1, -1):
                expected[row, column] = expected[
                    row + up[0, row - 2, column - 2], column + left[0, row - 2, column - 2]
                ].copy()
    assert (shuffled[0] == expected).all()


@pytest.mark.parametrize(
    ("degrees", "direction"), [(0.0, (0, -1)), (90.0, (-1, 0)), (180.0, (0, 1)), (-45.0, None)]
)
def test_motion_blur_trails_half_a_gaussian_along_its_line(
    degrees: float, direction: tuple[int, int] | None
) -> None:
    point = np.zeros((1, 33, 33, 1), np.float32)
    point[0, 16, 16] = 1
    blurred = pixels.blur_along_lines(point, 6, 2.0, np.array([degrees]))[0, :, :, 0]
    weights = np.exp(-(np.arange(13) ** 2) / 8)
    weights /= weights.sum()
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    if (
        direction is None
    ):  # the pixel that looks up and to the right finds the point, so the trail goes down and left
        assert blurred[17, 15] > 0 and blurred[15, 17] == blurred[17, 17] == 0
        return
    trail = [blurred[16 + direction[0] * k, 16 + direction[1] * k] for k in range(13)]
    assert trail == pytest.approx(weights, abs=1e-5)


def test_motion_blur_repeats_the_border_and_turns_each_image_its_own_way(photos: np.ndarray) -> None:
    assert (corrupt(grey(77, 3), "motion_blur", 5, rng()) == 77).all()
    same = np.repeat(photos[:1], 8, axis=0)
    assert len({image.tobytes() for image in corrupt(same, "motion_blur", 5, rng())}) > 4


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.07, 1.13, 1.25, 1.75, 2.25])
@pytest.mark.parametrize("side", [32, 33])
def test_zoom_is_scipys_cut_to_the_middle(factor: float, side: int) -> None:
    image = rng().random((side, side))
    part = int(np.ceil(side / factor))
    first = (side - part) // 2
    zoomed = ndimage.zoom(image[first : first + part, first : first + part], factor, order=1)
    trim = (len(zoomed) - side) // 2
    matrix = pixels.zoom_matrix(side, factor)
    assert matrix @ image @ matrix.T == pytest.approx(
        zoomed[trim : trim + side, trim : trim + side], abs=1e-5
    )


def test_zoom_blur_keeps_the_middle_sharper_than_the_rim(photos: np.ndarray) -> None:
    change = np.abs(corrupt(photos, "zoom_blur", 5, rng()).astype(int) - photos).mean(axis=(0, 3))
    rim = np.concatenate(
        [change[:4].ravel(), change[-4:].ravel(), change[:, :4].ravel(), change[:, -4:].ravel()]
    )
    assert change[14:18, 14:18].mean() < 0.7 * rim.mean()


# ---------------------------------------------------------------- weather


def test_snow_falls_and_the_same_flakes_turned_upside_down() -> None:
    snowy = corrupt(grey(0), "snow", 3, rng()).astype(int)
    assert (snowy == snowy[:, ::-1, ::-1]).all()
    assert snowy.min() == 12  # no flake there: black is whitened to (1 - 0.9) * 0.5, cut off
    flakes = snowy[..., 0] > 12
    assert 0.02 < flakes.mean() < 0.9
    assert (snowy[..., 0] == snowy[..., 1]).all()  # white
    down = (flakes[:, 1:] & flakes[:, :-1]).mean()
    across = (flakes[:, :, 1:] & flakes[:, :, :-1]).mean()
    assert down > 1.05 * across  # they fall steeply


def test_frost_is_a_piece_of_one_of_five_textures(photos: np.ndarray) -> None:
    pieces = weather.frost(photos[:12], (0.0, 1.0), rng())
    windows = [
        sliding_window_view(texture, (32, 32, 3)).reshape(-1, 32, 32, 3)
        for texture in weather.frost_textures()
    ]
    found = []
    for piece in pieces:
        near = [each[(each[:, 0, 0] == piece[0, 0]).all(axis=1)] for each in windows]
        found.append({k for k, each in enumerate(near) if any((window == piece).all() for window in each)})
    assert all(found) and len(set.union(*found)) > 2
    mixed = corrupt(photos[:12], "frost", 3, rng())  # the same draw: 0.9 of the image, 0.4 of the texture
    assert mixed == pytest.approx(np.clip(0.9 * photos[:12] + 0.4 * pieces, 0, 255), abs=1.001)


def test_frost_textures_are_sampled_at_a_fifth() -> None:
    assert [texture.shape for texture in weather.frost_textures()] == [
        (120, 180, 3),
        (63, 112, 3),
        (63, 112, 3),
        (70, 105, 3),
        (99, 132, 3),
    ]


def test_fog_lightens_by_a_plasma_and_dims_what_is_behind() -> None:
    foggy = corrupt(grey(255), "fog", 4, rng()).astype(
        int
    )  # (1 + veil) / 2 of white, the veil between 0 and 1
    assert (foggy.min(axis=(1, 2, 3)) == 127).all() and (foggy.max(axis=(1, 2, 3)) == 255).all()
    assert (foggy[..., 0] == foggy[..., 2]).all()


def test_plasma_is_smoother_the_faster_its_roughness_decays_and_wraps_around() -> None:
    rough, smooth = (weather.plasma(50, 32, decay, rng()) for decay in (1.75, 3.0))
    assert rough.min(axis=(1, 2)) == pytest.approx(0) and rough.max(axis=(1, 2)) == pytest.approx(1)
    steps = [np.abs(np.diff(each, axis=1)).mean() for each in (rough, smooth)]
    assert steps[1] < 0.8 * steps[0]
    seam, beside = (np.abs(smooth[:, 0] - smooth[:, k]).mean() for k in (-1, 1))
    assert seam == pytest.approx(beside, rel=0.2)


@pytest.mark.parametrize(
    ("severity", "added"), list(zip(SEVERITIES, (0.05, 0.1, 0.15, 0.2, 0.3), strict=True))
)
def test_brightness_raises_the_value_of_hsv(severity: int, added: float, photos: np.ndarray) -> None:
    few = photos[:1, ::4, ::4].copy()
    few[0, 0, 0], few[0, 0, 1] = (0, 0, 0), (255, 10, 0)
    bright = corrupt(few, "brightness", severity, rng()).reshape(-1, 3)
    for pixel, found in zip(few.reshape(-1, 3) / 255, bright, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation, min(value + added, 1))) * 255
        assert found == pytest.approx(expected, abs=1.001) and (found <= expected + 0.01).all()  # cut off


# ---------------------------------------------------------------- digital


@pytest.mark.parametrize(
    ("severity", "kept"), list(zip(SEVERITIES, (0.75, 0.5, 0.4, 0.3, 0.15), strict=True))
)
def test_contrast_keeps_channel_means_and_its_share_of_the_deviation(
    severity: int, kept: float, photos: np.ndarray
) -> None:
    flat = corrupt(photos, "contrast", severity, rng()).astype(float)
    assert flat.mean(axis=(1, 2)) == pytest.approx(photos.mean(axis=(1, 2)) - 0.5, abs=0.6)
    ratio = flat.std(axis=(1, 2)) / photos.std(axis=(1, 2))
    assert np.median(ratio) == pytest.approx(kept, abs=0.005)


def test_elastic_without_jitter_and_shift_changes_nothing(photos: np.ndarray) -> None:
    assert np.abs(digital.elastic(photos[:5], (0.0, 0.0, 0.0), rng()).astype(int) - photos[:5]).max() <= 1
    assert (corrupt(grey(90, 4), "elastic_transform", 5, rng()) == 90).all()


def test_elastics_map_brings_three_points_to_their_jittered_places() -> None:
    y, x = digital._affine(2, 32, 32, 2.5, rng(3))
    points = np.array([[26, 26], [26, 6], [6, 6]], float)  # x, y: a third of the side around the middle
    moved = points + rng(3).uniform(-2.5, 2.5, (2, 3, 2))
    for k in range(2):  # an affine field is its value at a corner and its two steps
        across = np.array([x[k, 0, 1] - x[k, 0, 0], y[k, 0, 1] - y[k, 0, 0]])
        down = np.array([x[k, 1, 0] - x[k, 0, 0], y[k, 1, 0] - y[k, 0, 0]])
        found = np.array([x[k, 0, 0], y[k, 0, 0]]) + moved[k, :, :1] * across + moved[k, :, 1:] * down
        assert found == pytest.approx(points, abs=1e-3)


@pytest.mark.parametrize(("severity", "columns"), list(zip(SEVERITIES, (30, 28, 27, 24, 20), strict=True)))
def test_pixelate_leaves_so_many_columns(severity: int, columns: int) -> None:
    ramp = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[None, None, :, None], (1, 32, 32, 3)).copy()
    assert len(np.unique(corrupt(ramp, "pixelate", severity, rng())[0, 0, :, 0])) <= columns + 1


@pytest.mark.parametrize(("severity", "quality"), list(zip(SEVERITIES, (80, 65, 58, 50, 40), strict=True)))
def test_jpeg_is_pillows_at_that_quality(severity: int, quality: int, photos: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(photos[3]).save(file, format="jpeg", quality=quality)
    assert (corrupt(photos[3:4], "jpeg_compression", severity, rng())[0] == np.array(Image.open(file))).all()
