"""What doctor says of GPUs: no code for this one, a build for processors beside one."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.cli import doctor
from headstart.cli.gpus import gpu_fault, has_code_for, has_nvidia_gpu, is_cpu_build


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        ((8, 0), ["sm_80"], True),
        ((8, 6), ["sm_80"], True),  # a later minor version of the same major one
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),  # compiled on the spot
        ((6, 1), ["sm_75", "sm_80", "compute_90"], False),
        ((12, 0), ["sm_90", "sm_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((9, 0), [], False),
    ],
)
def test_code_for_a_gpu_is_told_by_its_version(capability, architectures, expected) -> None:
    assert has_code_for(capability, architectures) is expected


def test_a_gpu_without_code_is_named_with_what_to_do() -> None:
    fault = gpu_fault(name="Old GPU", capability=(6, 1), architectures=["sm_75", "sm_90"], version="2.13.0")
    assert fault is not None
    assert fault[0] == "Old GPU is sm_61, and torch 2.13.0 has code for sm_75, sm_90"
    assert "CUDA_VISIBLE_DEVICES=" in fault[1]
    assert gpu_fault(name="H", capability=(9, 0), architectures=["sm_90"], version="2.13.0") is None


def test_a_build_for_processors_is_told_by_its_version() -> None:
    assert is_cpu_build("2.13.0+cpu", None) and not is_cpu_build("2.13.0+cu128", "12.8")
    assert not is_cpu_build("2.13.0", "12.8") and is_cpu_build("2.13.0", None)


def test_a_gpu_beside_a_build_for_processors_is_something_to_mend(monkeypatch, tmp_path: Path) -> None:
    assert not has_nvidia_gpu([tmp_path / "none"], "no-such-program")
    assert has_nvidia_gpu([tmp_path], "no-such-program")
    monkeypatch.setattr(doctor, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: "2.13.0+cpu")
    row = doctor._device()[0]
    assert not row.fine and "this build of torch cannot use it" in row.value and "pip install" in row.remedy
