"""Frozen features on a Ray cluster: computed by the nodes, a part each, and sent to all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.ray_cluster import RayCluster
from tests.support.shards import assert_equal_trials

from headstart.cluster import features as cluster_features
from headstart.cluster.study import run_on_cluster
from headstart.models import features
from headstart.models.features import FrozenLayers
from headstart.studies.run import run_study

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own
pytest.importorskip("ray")

STUDY = """name = "small"
dataset = "{photos}"
seeds = [0, 1]
precision = "fp32"
feature_precision = "fp32"
[[arms]]
name = "probe"
model = "resnet18"
weights = "none"
method = "linear_probe"
input_pixels = 32
[[arms]]
name = "knn"
model = "resnet18"
weights = "none"
method = "knn"
input_pixels = 32
"""


def _files(cache: Path) -> dict[str, bytes]:
    return {
        path.relative_to(cache).as_posix(): path.read_bytes() for path in cache.glob("features/*/values.f16")
    }


def test_features_are_computed_in_parts_joined_to_the_same_bytes_and_sent_to_every_node(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(STUDY.format(photos=photos))
    file = str(tmp_path / "small.toml")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    alone = run_study(file, tmp_path / "alone", threads=1)
    expected = _files(tmp_path / "cache")
    assert len(expected) == 3  # training images, both views of the test images

    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "driver"))
    for module in (features, cluster_features):
        monkeypatch.setattr(module, "CHUNK", 64)
    computed_here = []
    monkeypatch.setattr(FrozenLayers, "_rows", lambda *_: computed_here.append(1))
    cluster = RayCluster(nodes=2, HEADSTART_CACHE=str(tmp_path / "node"))
    try:
        run_on_cluster(cluster.address, file, tmp_path / "ray", threads=1)
    finally:
        cluster.close()
    assert not computed_here
    assert _files(tmp_path / "driver") == _files(tmp_path / "node") == expected
    assert_equal_trials(alone, tmp_path / "ray")
