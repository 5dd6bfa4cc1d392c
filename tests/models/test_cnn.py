"""The custom CNN: its shapes, its first layer, its start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.models import load_model
from headstart.models.cnn import CNN, ConvBlock


def test_shapes_are_those_of_the_layer_table() -> None:
    model = CNN(10).eval()
    x = torch.zeros(2, 3, 32, 32)
    shapes = [tuple(model.whiten(x).shape)]
    out = model.whiten(x)
    for block in model.blocks:
        out = block(out)
        shapes.append(tuple(out.shape))
    assert shapes == [(2, 24, 31, 31), (2, 64, 15, 15), (2, 256, 7, 7), (2, 256, 3, 3)]
    assert model(x).shape == (2, 10) and model(x).dtype == torch.float32


def test_parameters_are_counted_by_hand() -> None:
    # whiten 24*12+24; convolutions 9*(24*64+64*64+64*256+3*256*256); BatchNorm 2*(2*64+4*256); head 256*10
    want = 312 + 9 * (1536 + 4096 + 16384 + 3 * 65536) + 2 * (128 + 1024) + 2560
    assert sum(p.numel() for p in CNN(10).parameters()) == want == 1_972_792


def test_the_first_layer_whitens_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(500, 3, 8, 8, generator=generator)
    images = base + 2 * base.roll(1, 3)  # neighbouring pixels are correlated
    model = CNN(10, image_pixels=16)
    model.fit_whitening(images)
    with torch.no_grad():
        out = torch.nn.functional.conv2d(images, model.whiten.weight[:12])
    rows = out.permute(0, 2, 3, 1).reshape(-1, 12).double()
    second_moment = (rows.T @ rows / len(rows)).numpy()
    np.testing.assert_allclose(second_moment, np.eye(12), atol=0.01)
    assert torch.equal(model.whiten.weight[12:], -model.whiten.weight[:12])


def test_a_block_begins_by_passing_its_input_on() -> None:
    block = ConvBlock(4, 6)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(block.conv1(x)[:, :4], x)


def test_the_same_seed_gives_the_same_start_and_leaves_global_state_alone() -> None:
    before = torch.get_rng_state()
    a, b, other = (load_model("cnn", seed=seed, num_classes=7).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.weight"], other["head.weight"])
    assert torch.equal(torch.get_rng_state(), before)


def test_images_too_small_for_three_poolings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        CNN(10, image_pixels=8)
