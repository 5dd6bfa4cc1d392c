"""The GPU benchmark without a GPU: its refusal, how kernels are grouped, its summary."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu  # noqa: E402
import gpu_report  # noqa: E402
import kernels  # noqa: E402


def test_without_a_gpu_it_ends_with_one_line_and_exit_code_2(tmp_path):
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("no CUDA GPU here: ") and line.endswith("; run it on a machine with one")
    assert not out.exists()


def test_an_unknown_section_is_refused_with_the_choices(capsys):
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["profil"])
    assert "unknown section 'profil'; choose from product, airbench, profile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "scopes", "group"),
    [
        (
            "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64",
            (),
            kernels.FORWARD,
        ),
        (
            "cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816wgrad_optimized_bf16_256x64_32x4_nhwc_align8>",
            (),
            kernels.BACKWARD,
        ),
        (
            "sm80_xmma_dgrad_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x64x32",
            (),
            kernels.BACKWARD,
        ),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float, int, 512, true, 1, true>", (), kernels.LAYERS),
        ("void at::native::(anonymous namespace)::max_pool_backward_nhwc<c10::BFloat16>", (), kernels.LAYERS),
        (
            "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<TensorListMetadata<3>>",
            (),
            kernels.OPTIMISER,
        ),
        ("void at::native::index_elementwise_kernel<128, 4>", (), kernels.BATCHES),
        (
            "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda>",
            (),
            kernels.COPIES,
        ),
        ("Memcpy HtoD (Pageable -> Device)", (), kernels.COPIES),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", (), kernels.PRODUCTS),
        ("a kernel that nobody knows", (), kernels.OTHER),
        # the same kernel in three places
        ("nvjet_tst_64x64_64x8", ("Optimizer.step#Muon.step", "aten::matmul", "aten::mm"), kernels.MUON),
        (
            "nvjet_tst_64x64_64x8",
            ("aten::conv2d", "aten::convolution", "aten::cudnn_convolution"),
            kernels.FORWARD,
        ),
        ("nvjet_tst_64x64_64x8", ("ConvolutionBackward0", "aten::convolution_backward"), kernels.BACKWARD),
        # a cast of weights for a convolution is none
        (
            "vectorized_elementwise_kernel<4, at::native::bfloat16_copy_kernel_cuda>",
            ("aten::conv2d", "aten::to"),
            kernels.COPIES,
        ),
        (
            "vectorized_elementwise_kernel<4, CUDAFunctor_add<float>>",
            ("Optimizer.step#Muon.step", "aten::add_"),
            kernels.OPTIMISER,
        ),
        ("vectorized_elementwise_kernel<4, CUDAFunctor_add<float>>", ("aten::add_",), kernels.LAYERS),
        (
            "vectorized_elementwise_kernel<4, AUnaryFunctor>",
            ("headstart.batch", "aten::mul_"),
            kernels.BATCHES,
        ),
    ],
)
def test_a_kernel_goes_by_what_launched_it_then_by_its_name(name, scopes, group):
    assert kernels.group_of(name, scopes) == group


def event(cat, name, ts, dur, tid=1, correlation=None):
    args = {} if correlation is None else {"correlation": correlation}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "tid": tid, "args": args}


def test_a_trace_tells_which_operators_were_open_when_a_kernel_was_launched():
    found = kernels.kernels_of(
        [
            event("kernel", "late", 100.0, 5.0, tid=7, correlation=1),
            event("cuda_runtime", "cudaLaunchKernel", 3.0, 1.0, correlation=1),
            event("cpu_op", "aten::mm", 2.0, 3.0),
            event("user_annotation", "Optimizer.step#Muon.step", 0.0, 10.0),
            event("cpu_op", "aten::relu", 0.0, 10.0, tid=2),  # another thread
            event("cpu_op", "aten::add", 0.5, 1.0),  # over by then
            event("gpu_user_annotation", "Optimizer.step#Muon.step", 90.0, 50.0, tid=7),
            event(
                "gpu_memset", "Memset (Device)", 105.0, 2.0, tid=7, correlation=9
            ),  # its launch was not recorded
            {"ph": "M", "name": "process_name"},
        ]
    )
    assert found == [
        kernels.Kernel(
            name="late", start=100.0, duration=5.0, scopes=("Optimizer.step#Muon.step", "aten::mm")
        ),
        kernels.Kernel(name="Memset (Device)", start=105.0, duration=2.0),
    ]


def test_busy_time_counts_once_what_ran_at_once():
    ran = [
        kernels.Kernel(name="a", start=start, duration=duration)
        for start, duration in ((0, 4), (2, 1), (3, 3), (10, 2))
    ]
    assert kernels.busy_microseconds(ran) == 8.0  # 0 to 6 and 10 to 12


def test_groups_and_kernels_are_ordered_by_their_time():
    ran = [
        kernels.Kernel(name="fprop", start=0, duration=1),
        kernels.Kernel(name="wgrad", start=1, duration=6),
        kernels.Kernel(name="fprop", start=7, duration=1),
    ]
    assert kernels.time_by_group(ran) == [
        {"group": kernels.BACKWARD, "kernels": 1, "microseconds": 6, "fraction": 0.75},
        {"group": kernels.FORWARD, "kernels": 2, "microseconds": 2, "fraction": 0.25},
    ]
    assert kernels.longest(ran, 1) == [
        {"name": "wgrad", "group": kernels.BACKWARD, "kernels": 1, "microseconds": 6, "fraction": 0.75}
    ]
    assert kernels.time_by_group([]) == []


def run_of(name, seconds, accuracy, flip, pflop, **more):
    return {
        "name": name,
        "seconds": seconds,
        "accuracy": accuracy,
        "flip_accuracy": flip,
        "pflop": pflop,
        **more,
    }


RUNS = [
    run_of("cnn", 6.0, 0.93, 0.94, 0.5),
    run_of("airbench", 2.0, 0.92, 0.94, 0.36, translate_accuracy=0.945),
    run_of("cnn", 9.0, 0.94, 0.95, 0.5),
    run_of("airbench", 4.0, 0.94, 0.94, 0.36, translate_accuracy=0.935),
    run_of("cnn", 100.0, 0.95, 0.96, 0.5, stored=True),  # not measured in turn
    run_of("airbench", 3.0, 0.93, 0.94, 0.36, translate_accuracy=0.94),
]


def test_the_summary_sets_median_times_against_airbench_and_leaves_out_times_that_were_stored():
    peer, ours = gpu_report.summarise(RUNS)
    assert (peer["name"], ours["name"]) == ("airbench", "cnn")
    assert peer["seconds"] == {"n": 3, "mean": 3.0, "median": 3.0, "min": 2.0, "max": 4.0}
    assert ours["seconds"] == {"n": 2, "mean": 7.5, "median": 7.5, "min": 6.0, "max": 9.0}
    assert (peer["seconds_over_airbench"], ours["seconds_over_airbench"]) == (None, 2.5)
    assert ours["accuracy"] == {"n": 3, "mean": pytest.approx(0.94), "median": 0.94, "min": 0.93, "max": 0.95}
    assert (peer["translate_accuracy"]["max"], ours["translate_accuracy"]) == (0.945, None)
    assert (peer["pflop"], ours["pflop"]) == (0.36, 0.5)


def test_without_airbench_there_is_no_ratio():
    (row,) = gpu_report.summarise([RUNS[0]])
    assert row["seconds_over_airbench"] is None


def test_the_printed_report_has_what_was_measured_and_what_failed():
    timed = {"seconds_per_step": 0.004, "batch_size": 500, "images_per_second": 125_000.0, "steps": 10}
    busy = {
        "busy_fraction": 0.5,
        "kernels_per_step": 300.0,
        "groups": [{"group": kernels.FORWARD, "microseconds": 20_000.0, "fraction": 0.25}],
    }
    text = gpu_report.text_of(
        {
            "environment": {"device": "a GPU"},
            "product": {"bf16": {"tflops": 700.4}},
            "profile": {"covers": "steps", "cnn": timed | busy, "other": timed, "third": {}},
            "airbench": {"rows": gpu_report.summarise(RUNS)},
            "problems": {"profile": "RuntimeError: no"},
        }
    )
    assert text.startswith("GPU: a GPU\n\nmatrix products: bf16 700 TFLOP/s\n")
    assert "\ncnn: 4.00 ms a step of 500, 125000 images/s, GPU busy 50 %, 300 kernels a step\n" in text
    assert "\n| convolutions, forward | 25.0 |      2000 |\n" in text
    assert "\nother: 4.00 ms a step of 500, 125000 images/s\n" in text and "third" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("| cnn")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert " ".join(cells) == "cnn 2 7.50 6.00 9.00 2.50 3 94.00 93.00 95.00 95.00 94.00 96.00 0.50"
    assert text.endswith("failed: profile: RuntimeError: no")
