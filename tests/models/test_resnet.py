"""ResNets: published sizes, cuts, frozen statistics, folded BatchNorm."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from tests.support.networks import KERAS_FORM, random_images, with_random_statistics
from torch import Tensor, nn

from headstart.models import MODELS, load_model
from headstart.models.resnet import ResNet, fold_batchnorm, parameter_count
from headstart.models.torchvision_import import import_torchvision


@pytest.fixture(scope="module")
def resnet18() -> ResNet:
    return with_random_statistics(load_model("resnet18", "none", num_classes=10))


@pytest.fixture(scope="module")
def keras_resnet50() -> ResNet:
    return with_random_statistics(load_model("resnet50", "none", num_classes=10))


# torchvision's documentation states these; the summary of Keras's ResNet50 has 25,583,592 trainable
# parameters
@pytest.mark.parametrize(
    ("depth", "form", "parameters"),
    [
        (18, {}, 11_689_512),
        (34, {}, 21_797_672),
        (50, {}, 25_557_032),
        (101, {}, 44_549_160),
        (50, KERAS_FORM, 25_583_592),
    ],
)
def test_parameter_counts_are_the_published_ones(depth: int, form: dict, parameters: int) -> None:
    with torch.device("meta"):
        assert parameter_count(ResNet(depth, **form)) == parameters


def test_a_small_stem_keeps_the_positions_of_small_images_and_the_weights() -> None:
    wide, small = (
        load_model(name, "none", num_classes=10, seed=0) for name in ("resnet50", "resnet50-small-stem")
    )
    assert all(torch.equal(value, small.state_dict()[key]) for key, value in wide.state_dict().items())
    x = random_images(2, pixels=32)
    stem = small.forward_to(x, "stem")
    assert stem.shape == (2, 64, 32, 32) and small.forward_to(x, "layer4").shape == (2, 2048, 4, 4)
    # every second position of its convolution is what the usual stem computes before it pools
    usual = wide.relu(wide.bn1(wide.conv1(x)))
    assert torch.allclose(stem[:, :, ::2, ::2], usual, atol=1e-5)


def test_registry_states_parameters_and_flops_of_resnet18() -> None:
    spec = MODELS["resnet18"]
    assert (spec.parameters, spec.input_pixels) == (11_689_512, 224)
    assert spec.flops == 2 * 1_814_073_344  # multiply-adds of its convolutions and head at 224 px


def test_resnet18_for_small_images_is_the_usual_one_of_cifar_10() -> None:
    """11,173,962 parameters with ten classes and 0.56 GMAC at 32 px, as published implementations count."""
    network = load_model("resnet18-small-stem", "none", num_classes=10, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_173_962
    assert network.conv1.weight.shape == (64, 3, 3, 3)
    assert network.forward_to(random_images(2, pixels=32), "layer4").shape == (2, 512, 4, 4)
    spec = MODELS["resnet18-small-stem"]
    assert (spec.parameters, spec.input_pixels, list(spec.sources)) == (11_681_832, 32, ["none"])
    # stem, layer1 at 32 px (4), the others each one half and three or two full blocks, shortcuts, head
    stages = [(64, 32), (128, 16), (256, 8), (512, 4)]
    products = 27 * 64 * 32**2 + 4 * 9 * 64 * 64 * 32**2 + 512 * 1000
    for (before, _), (width, side) in itertools.pairwise(stages):
        products += (9 * before * width + 3 * 9 * width * width + before * width) * side**2
    assert spec.flops == 2 * products


def functional_resnet18(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits from the paper's formula alone, in the precision of `state`: an implementation without
    modules."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (state[f"{name}.bias"] - mean * scale)[:, None, None]

    x = F.relu(norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            shortcut = x
            if stride == 2:
                down = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=2)
                shortcut = norm(down, f"{name}.downsample.1")
            x = F.relu(
                norm(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1")
            )
            x = F.relu(norm(F.conv2d(x, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2") + shortcut)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def test_resnet18_agrees_with_a_float64_reference(resnet18: ResNet) -> None:
    state = {name: tensor.double() for name, tensor in resnet18.state_dict().items()}
    x = random_images()
    with torch.no_grad():
        torch.testing.assert_close(
            resnet18(x).double(), functional_resnet18(state, x.double()), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_form_agrees_with_torchvision(name: str) -> None:
    try:
        torchvision = import_torchvision()
    except ImportError as error:
        pytest.skip(f"torchvision is not installed: {error}")
    theirs = with_random_statistics(getattr(torchvision.models, name)(num_classes=10)).eval()
    ours = ResNet(int(name.removeprefix("resnet")), 10).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(random_images()), theirs(random_images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("form", "strides"), [({}, (1, 2)), ({"stride_on_first": True}, (2, 1))])
def test_the_form_says_which_convolution_of_a_bottleneck_strides(
    form: dict, strides: tuple[int, int]
) -> None:
    with torch.device("meta"):
        block = ResNet(50, **form).layer3[0]
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides


def test_stages_come_in_the_order_of_the_forward_pass(resnet18: ResNet) -> None:
    assert [name for name, _ in resnet18.stages()] == ["stem", "layer1", "layer2", "layer3", "layer4", "pool"]


@pytest.mark.parametrize("model", ["resnet18", "keras_resnet50"])
def test_cutting_anywhere_changes_no_bit(model: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(model)
    x = random_images(pixels=32)
    with torch.no_grad():
        whole = network.forward_features(x)
        cuts = [name for name, _ in network.units() + network.stages()]
        assert len(cuts) == {"resnet18": 10, "keras_resnet50": 18}[model] + 6
        for cut in cuts:
            assert torch.equal(network.forward_from(network.forward_to(x, cut), cut), whole), cut


def test_a_stage_as_a_cut_is_its_last_block(resnet18: ResNet) -> None:
    x = random_images()
    with torch.no_grad():
        assert resnet18.forward_to(x, "layer2").shape == (2, 128, 8, 8)
        assert torch.equal(resnet18.forward_to(x, "layer2"), resnet18.forward_to(x, "layer2.1"))


@pytest.mark.parametrize(
    ("from_stage", "cut"), [("stem", None), ("layer4", "layer3.1"), ("layer4.1", "layer4.0"), ("fc", "pool")]
)
def test_the_cut_before_a_stage_is_where_learning_starts(
    resnet18: ResNet, from_stage: str, cut: str | None
) -> None:
    assert resnet18.cut_before(from_stage) == cut


@pytest.mark.parametrize("call", ["forward_to", "set_trainable"])
def test_an_unknown_stage_is_named_with_the_choices(resnet18: ResNet, call: str) -> None:
    arguments = (random_images(), "layer5") if call == "forward_to" else ("layer5",)
    with pytest.raises(
        ValueError, match=r"'layer5' is no (cut|stage) of this network; choose a stage or one of stem, lay"
    ):
        getattr(resnet18, call)(*arguments)


def test_an_unknown_depth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"depth must be one of \[18, 34, 50, 101\], got 20"):
        ResNet(20)


def test_features_are_float32_under_bf16_arithmetic(resnet18: ResNet) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features, logits = resnet18.forward_features(random_images()), resnet18(random_images())
    assert (features.dtype, features.shape) == (torch.float32, (2, 512))
    assert logits.dtype == torch.float32


def train_step(model: nn.Module) -> None:
    model.train()
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learns, lr=0.1, weight_decay=0.1)
    F.cross_entropy(model(random_images(4)), torch.tensor([0, 1, 2, 3])).backward()
    optimizer.step()


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def fresh() -> ResNet:
    return with_random_statistics(load_model("resnet18", "none", num_classes=10))


def test_a_frozen_backbone_is_the_same_bit_for_bit_after_a_training_step() -> None:
    model = fresh()
    model.set_trainable("fc")
    before = snapshot(model)
    train_step(model)
    assert changed(before, model) == {"fc.weight", "fc.bias"}


def test_an_unfrozen_network_does_change_its_statistics() -> None:
    model = fresh()
    before = snapshot(model)
    train_step(model)
    assert changed(before, model) == set(before)


def test_stages_before_the_first_that_learns_keep_weights_and_statistics() -> None:
    model = fresh()
    model.set_trainable("layer4.1")
    before = snapshot(model)
    train_step(model)
    assert changed(before, model) == {name for name in before if name.startswith(("layer4.1.", "fc."))}


def test_statistics_can_be_kept_while_weights_learn() -> None:
    model = fresh()
    model.set_trainable("stem", keep_statistics=True)
    before = snapshot(model)
    train_step(model)
    assert changed(before, model) == {
        name for name in before if "running" not in name and "num_batches" not in name
    }


def test_freezing_outlasts_any_order_of_train_and_eval_and_ends_with_the_next_policy() -> None:
    model = fresh()
    model.set_trainable("layer3")
    for mode in (True, False, True):
        model.train(mode)
    in_training = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.training
    }
    assert in_training == {
        name
        for name, _ in model.named_modules()
        if name.startswith(("layer3.", "layer4.")) and name.split(".")[-1] in ("bn1", "bn2")
    } | {"layer3.0.downsample.1", "layer4.0.downsample.1"}
    model.set_trainable("stem")
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_nothing_learns_where_nothing_is_trainable() -> None:
    model = fresh()
    model.set_trainable(None)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("model", ["resnet18", "keras_resnet50"])
def test_folding_batchnorm_keeps_the_outputs(model: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(model)
    folded = fold_batchnorm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        expected, found = network.forward_features(random_images()), folded.forward_features(random_images())
    assert (found - expected).norm() <= 1e-4 * expected.norm()


def test_folding_leaves_the_original_as_it_was() -> None:
    model = fresh().train()
    before = snapshot(model)
    folded = fold_batchnorm(model)
    assert model.training and not folded.training
    assert changed(before, model) == set()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_folding_refuses_a_batchnorm_without_a_convolution_before_it() -> None:
    with pytest.raises(ValueError, match="BatchNorm '1' of Sequential has no convolution to be folded into"):
        fold_batchnorm(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)))
