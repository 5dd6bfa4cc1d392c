"""No code is loaded from a model file: pickles, TorchScript as weights, ONNX files that name other files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.errors import StoreError, WeightsError
from headstart.models import int8
from headstart.models.weights import load_state_file
from headstart.store import read_npz


class _Runs:
    """Unpickling it makes a folder: what a file must not be able to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    torch.save({"a": _Runs(ran)}, tmp_path / "zip.pth")
    torch.save({"a": _Runs(ran)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Runs(ran), protocol=2))
    for name in ("zip.pth", "old.pth", "plain.pt"):
        with pytest.raises(WeightsError, match=name):
            load_state_file(tmp_path / name)
        assert not ran.exists()
    np.savez(tmp_path / "a.npz", x=np.array([_Runs(ran)], dtype=object))
    with pytest.raises(StoreError, match="Python objects"):
        read_npz(tmp_path / "a.npz", "mend it")
    assert not ran.exists()


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_no_file_of_weights(tmp_path: Path) -> None:
    class Double(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    torch.jit.trace(Double(), torch.ones(2)).save(str(tmp_path / "model.pt"))
    with pytest.raises(WeightsError, match=r"model\.pt"):
        load_state_file(tmp_path / "model.pt")


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname"])
def test_an_onnx_file_reads_no_other_file_outside_its_folder(tmp_path: Path, location: str) -> None:
    onnx = pytest.importorskip("onnx")
    (tmp_path / "secret.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    folder = tmp_path / "cache"
    folder.mkdir()
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[3, 2])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["images", "w"], ["features"])],
        "g",
        [value("images", onnx.TensorProto.FLOAT, ["n", 3])],
        [value("features", onnx.TensorProto.FLOAT, ["n", 2])],
        [weight],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(StoreError, match=r"model\.onnx"):
        int8._session(folder / "model.onnx")
