"""What the processor, and a limit set to oneDNN, say of native bf16."""

from __future__ import annotations

import pytest
import torch

from headstart.runtime import precision
from headstart.runtime.precision import (
    has_native_bf16,
    possible_precisions,
    processor_has_native_bf16,
    resolve_feature_precision,
    resolve_precision,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("limit", "native"),
    [
        (None, True),
        ("", True),
        ("DEFAULT", True),
        ("AVX512_CORE_BF16", True),
        ("avx512_core_amx", True),
        ("AVX512_CORE", False),
        ("avx512_core_vnni", False),
        ("AVX2", False),
    ],
)
def test_a_limit_below_bf16_takes_native_bf16_away(
    limit: str | None, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert has_native_bf16(CPU) is native
    assert resolve_precision("auto", CPU) == ("bf16" if native else "fp32")


def test_no_limit_gives_a_processor_what_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    assert not has_native_bf16(CPU)


def test_the_processors_own_list_says_what_torch_says() -> None:
    assert processor_has_native_bf16() in (None, has_native_bf16(CPU))


@pytest.mark.parametrize(
    ("listed", "limit", "native"),
    [
        (None, None, None),
        ({"avx2"}, None, False),
        ({"avx2", "avx512_bf16"}, None, True),
        ({"amx_tile"}, None, True),
        ({"amx_tile"}, "AVX2", False),
    ],
)
def test_bf16_is_native_where_the_list_has_it_and_no_limit_takes_it_away(
    listed: set[str] | None, limit: str | None, native: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "instructions", lambda: listed if listed is None else frozenset(listed))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert processor_has_native_bf16() is native


@pytest.mark.parametrize(
    ("native", "installed", "device", "expected"),
    [
        (False, True, "cpu", "int8"),
        (False, False, "cpu", "fp32"),
        (True, True, "cpu", "bf16"),
        (True, True, "cuda", "bf16"),
    ],
)
def test_fast_features_are_int8_where_bf16_is_not_native_and_the_extra_is_there(
    native: bool, installed: bool, device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda of: native)
    monkeypatch.setattr(precision, "find_spec", lambda name: object() if installed else None)
    assert resolve_feature_precision("fast", torch.device(device)) == expected


@pytest.mark.parametrize(
    ("chosen", "possible"),
    [("auto", ("bf16", "fp32")), ("fast", ("bf16", "fp32", "int8")), ("bf16", ()), ("int8", ())],
)
def test_another_machine_may_have_resolved_a_choice_and_no_named_precision(
    chosen: str, possible: tuple[str, ...]
) -> None:
    assert tuple(possible_precisions(chosen)) == possible
