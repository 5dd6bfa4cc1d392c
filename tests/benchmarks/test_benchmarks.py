"""The benchmarks' arithmetic, table and files; nothing here is timed."""

import dataclasses
import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS.parent / "tools")]

import competitors  # noqa: E402
import rounds  # noqa: E402
import run as program  # noqa: E402
import sections  # noqa: E402
import summary  # noqa: E402
import update_benchmarks  # noqa: E402
from sections.busy import share_row  # noqa: E402
from sections.start import cpu_seconds  # noqa: E402
from workers.objective import Problem, moments, objective  # noqa: E402


def measurement(images, seconds, bf16=200.0, fp32=100.0):
    return {"images": images, "seconds": seconds, "product": {"bf16": bf16, "fp32": fp32}}


def test_a_ratio_pairs_runs_of_the_same_round():
    # the machine halves its speed after the first round: 2, 2, 2 in each round, though the medians are 20 and
    # 5
    assert summary.paired_ratio([40.0, 20.0, 10.0], [20.0, 10.0, 5.0]) == 2.0


def test_the_interval_of_a_ratio_is_the_4th_and_12th_of_15_and_none_of_few():
    ratios = [float(number) for number in (9, 3, 15, 1, 7, 11, 5, 13, 2, 4, 6, 8, 10, 12, 14)]
    assert summary.paired_interval(ratios, [1.0] * 15) == (4.0, 12.0)
    assert summary.paired_interval(ratios[:6], [1.0] * 6) == (1.0, 15.0)  # 96.9 %
    assert summary.paired_interval(ratios[:5], [1.0] * 5) is None


@pytest.mark.parametrize(
    ("listed", "kind"),
    [
        ({"avx2", "avx512f", "avx512_bf16", "amx_tile"}, "AMX"),
        ({"avx2", "avx512f", "avx512_bf16"}, "AVX512-BF16"),
        ({"avx2", "avx512f"}, "AVX512"),
        ({"avx2"}, "AVX2"),
        ({"sse2"}, "other"),
        (None, "other"),
    ],
)
def test_a_processor_is_of_the_best_kind_that_its_instructions_allow(listed, kind):
    assert summary.processor_kind(listed) == kind


def test_a_ratio_of_unequal_numbers_of_runs_is_refused():
    with pytest.raises(ValueError, match="2 and 1 runs do not pair up"):
        summary.paired_ratio([1.0, 2.0], [1.0])


def test_a_throughput_row_takes_medians_and_the_share_of_the_products_of_the_same_round():
    runs = [
        measurement(100, 1.0, bf16=200.0),
        measurement(100, 2.0, bf16=50.0),
        measurement(100, 4.0, bf16=100.0),
    ]
    ours = [measurement(300, 1.0), measurement(300, 2.0), measurement(300, 3.0)]
    row = summary.throughput_row("peer", "fp32", runs, flops_per_image=1e9, ours=ours)
    assert row["images_per_second"] == 50.0  # of 100, 50, 25
    assert (row["lowest"], row["highest"], row["runs"]) == (25.0, 100.0, 3)
    assert row["gflops"] == 50.0
    assert row["fraction_of_bf16_product"] == 0.5  # of 100/200, 50/50, 25/100
    assert row["fraction_of_fp32_product"] == 0.5  # of 100/100, 50/100, 25/100
    assert row["ours_is_faster_by"] == 3.0  # of 300/100, 150/50, 100/25


def test_a_row_without_products_has_no_share_of_them():
    row = summary.throughput_row("peer", "fp32", [{"images": 10, "seconds": 1.0}], flops_per_image=1e9)
    assert not [key for key in row if key.startswith("fraction")]
    assert "ours_is_faster_by" not in row


def test_the_cost_an_image_is_set_against_the_largest_number_of_images():
    rows = summary.slope_row([[{"images": 10, "seconds": 2.0}, {"images": 100, "seconds": 10.0}]])
    assert [row["cost_an_image_to_largest"] for row in rows] == [2.0, 1.0]
    assert [row["images_per_second"] for row in rows] == [5.0, 10.0]


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (1.8, True, "met"),
        (1.79, True, "missed"),
        (1.8, False, "met"),
        (1.81, False, "missed"),
        (None, True, "n/a"),
    ],
)
def test_a_target_is_met_at_its_limit(value, at_least, verdict):
    assert summary.Target(sentence="x", value=value, limit=1.8, at_least=at_least).verdict == verdict


def test_a_promise_for_another_kind_of_machine_is_stated_and_not_judged():
    target = summary.Target(sentence="ours", value=1.2, limit=1.8, judged=False)
    assert target.line() == "stated  ours: 1.2 (target >= 1.8)"


@pytest.mark.parametrize(("native", "precisions"), [("bf16", ("bf16", "fp32")), ("fp32", ("fp32",))])
def test_contenders_run_in_what_the_processor_multiplies_in_hardware(native, precisions):
    bench = sections.Bench(pythons={}, native=native, work=Path(), rounds=None, sizes={})
    assert bench.precisions == precisions
    assert bench.target(sentence="x", value=1.0, limit=2.0).judged == (native == "bf16")


def test_a_target_reads_as_a_line():
    assert summary.Target(sentence="ours", value=2.0, limit=1.8).line() == "   met  ours: 2 (target >= 1.8)"
    assert (
        summary.Target(sentence="MiB", value=None, limit=200.0, at_least=False).line()
        == "   n/a  MiB: n/a (target <= 200)"
    )


def test_a_table_is_aligned_markdown_with_missing_values_and_notes():
    columns = (("who", "name", "s"), ("images/s", "rate", ".1f"))
    rows = [{"name": "ours", "rate": 1234.56}, {"name": "a peer", "note": "n/a: no bf16"}]
    assert summary.table(columns, rows).splitlines() == [
        "| who    | images/s | note         |",
        "|--------|---------:|--------------|",
        "| ours   |   1234.6 |              |",
        "| a peer |      n/a | n/a: no bf16 |",
    ]


def test_a_result_file_holds_rows_targets_and_raw_runs_and_never_replaces_another(tmp_path):
    target = summary.Target(sentence="ours", value=2.0, limit=1.8)
    content = {
        "rows": [{"name": "ours"}],
        "targets": [target],
        "raw": {"ours": {"runs": [1]}},
        "environment": {"cores": 2},
        "text": "a table",
    }
    result = summary.SectionResult(what="train", date="2026-01-02", **content)
    first, second = (summary.write_result(tmp_path, result) for _ in range(2))
    assert (first.name, second.name) == ("2026-01-02-train.json", "2026-01-02-train-2.json")
    assert json.loads(first.read_text()) == {
        "what": "train",
        "date": "2026-01-02",
        "environment": {"cores": 2},
        "rows": [{"name": "ours"}],
        "text": "a table",
        "targets": [
            {
                "sentence": "ours",
                "value": 2.0,
                "limit": 1.8,
                "at_least": True,
                "judged": True,
                "verdict": "met",
            }
        ],
        "raw": {"ours": {"runs": [1]}},
    }


def test_moments_are_of_the_given_rows_and_a_constant_feature_has_deviation_one():
    values = np.array([[1, 5], [3, 5], [100, 100]], np.float16)
    mean, deviation = moments(values, np.array([0, 1]))
    assert mean.tolist() == [2.0, 5.0]
    assert deviation.tolist() == [1.0, 1.0]  # population: sqrt(((1-2)^2 + (3-2)^2) / 2)


def test_the_objective_is_the_mean_cross_entropy_plus_half_l2_on_standardised_weights():
    values, labels = np.array([[0.0], [1.0]], np.float16), np.array([0, 1])
    weight, bias = np.array([[0.0], [math.log(3)]]), np.zeros(2)
    # image 0: logits 0, 0 -> ln 2; image 1: logits 0, ln 3 -> ln(4/3); penalty 0.1 / 2 * (2 ln 3)^2
    expected = (math.log(2) + math.log(4 / 3)) / 2 + 0.05 * (2 * math.log(3)) ** 2
    problem = Problem(values=values, labels=labels, ids=np.array([0, 1]))
    found = objective(problem, weight, bias, np.array([2.0]), 0.1)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.fixture
def worker_folder(tmp_path, monkeypatch):
    """A folder whose workers/ holds the real protocol and what a test adds."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "protocol.py").write_text((BENCHMARKS / "workers" / "protocol.py").read_text())
    monkeypatch.setattr(rounds, "HERE", tmp_path)

    def add(name, prepare):
        text = f"from protocol import Unavailable, serve\n\n{prepare}\n\nserve(prepare)\n"
        (tmp_path / "workers" / f"{name}.py").write_text(text)

    return add


def test_contenders_take_turns_and_noise_on_standard_output_is_no_reply(worker_folder, tmp_path):
    worker_folder(
        "good",
        "def prepare(config):\n    print('noise')\n    step = config['step']\n    return "
        "lambda: (print('more'), {'images': step, 'seconds': 2.0})[1], {'version': '1'}",
    )
    order = []
    contenders = [
        rounds.Contender(name=name, precision="fp32", worker="good", config={"step": step})
        for name, step in (("a", 4), ("b", 6))
    ]
    found = rounds.run_rounds(
        contenders,
        2,
        {"ours": Path(sys.executable)},
        tmp_path / "logs",
        after_run=lambda contender, run: order.append(contender.name),
    )
    assert order == ["a", "b", "a", "b"]
    assert found["a, fp32"].runs[0] | {"cpu_seconds": 0.0} == {
        "images": 4,
        "seconds": 2.0,
        "cpu_seconds": 0.0,
        "beside_cpu_seconds": 0.0,
    }
    assert (found["b, fp32"].about, found["b, fp32"].problem) == ({"version": "1"}, None)


def test_a_worker_that_cannot_or_fails_keeps_its_reason_and_the_others_go_on(worker_folder, tmp_path):
    worker_folder("cannot", "def prepare(config):\n    raise Unavailable('no bf16 here')")
    worker_folder(
        "fails", "def prepare(config):\n    def run():\n        raise ValueError('boom')\n    return run, {}"
    )
    worker_folder("good", "def prepare(config):\n    return lambda: {'images': 1, 'seconds': 1.0}, {}")
    contenders = [
        rounds.Contender(name=name, precision="bf16", worker=name) for name in ("cannot", "fails", "good")
    ]
    found = rounds.run_rounds(contenders, 1, {"ours": Path(sys.executable)}, tmp_path / "logs")
    assert found["cannot, bf16"].problem == "n/a: no bf16 here"
    assert found["fails, bf16"].problem == "failed: ValueError: boom"
    assert len(found["good, bf16"].runs) == 1


def test_what_differs_in_its_company_alone_is_one_process_beside_so_many_busy_ones(
    worker_folder, tmp_path, monkeypatch
):
    worker_folder(
        "good",
        "import os\n\ndef prepare(config):\n    return lambda: {'seconds': 1.0, 'id': os.getpid()}, {}",
    )
    company = []

    class Noted(rounds.Competitors):
        def __init__(self, count):
            super().__init__(0)
            company.append(count)

        def running(self, count):
            company.append(count)
            return super().running(count)

    monkeypatch.setattr(rounds, "Competitors", Noted)
    contenders = [
        rounds.Contender(name="a", precision="fp32", worker="good", beside=beside) for beside in (0, 2)
    ]
    found = rounds.run_rounds(contenders, 2, {"ours": Path(sys.executable)}, tmp_path / "logs")
    assert company == [2, 0, 2, 0, 2]  # made once, then a run each
    assert len({run["id"] for entry in found.values() for run in entry.runs}) == 1


def test_busy_processes_run_only_while_they_are_wanted():
    def becomes(stopped):
        stat = Path(f"/proc/{process.pid}/stat")
        for _ in range(3000):  # the kernel stops a thread when it is next on a core
            if (stat.read_text().rsplit(")", 1)[1].split()[0] == "T") == stopped:
                return True
            time.sleep(0.01)
        return False

    with competitors.Competitors(1) as busy:
        (process,) = busy._processes
        assert becomes(stopped=True)
        with busy.running(1) as cpu_seconds:
            assert becomes(stopped=False)
            assert any(cpu_seconds() > 0 or time.sleep(0.01) for _ in range(3000))
        assert becomes(stopped=True)
    assert process.returncode is not None


def test_a_fair_share_is_the_processor_time_that_each_process_beside_had():
    alone = rounds.Contender(name="a", precision="fp32", worker="good")
    runs = [{"images": 90, "seconds": 1.0, "cpu_seconds": seconds} for seconds in (3.0, 2.0)]
    beside = [
        {"images": 90, "seconds": 3.0, "cpu_seconds": 9.0, "beside_cpu_seconds": seconds}
        for seconds in (2.0, 4.0, 2.5)
    ]
    row = share_row(
        rounds.Measured(contender=dataclasses.replace(alone, beside=2), runs=beside),
        rounds.Measured(contender=alone, runs=runs),
    )
    assert (row["images_per_second"], row["of_fair_share"]) == (30.0, 0.8)
    assert (row["lowest"], row["highest"]) == (0.5, 1.0)


def test_a_command_costs_its_own_seconds_and_one_that_fails_stops_the_benchmark(tmp_path):
    run = cpu_seconds([sys.executable, "-c", "sum(range(10**6))"], tmp_path)
    assert run["cpu_seconds"] > 0 and run["seconds"] > 0
    with pytest.raises(subprocess.CalledProcessError):
        cpu_seconds([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)


def test_every_contender_names_a_worker_that_is_there():
    text = "".join(path.read_text() for path in (BENCHMARKS / "sections").glob("*.py"))
    named = set(
        re.findall(
            r'"((?:ours|torch|keras|fastai|sklearn)_(?:train|features|head|step|tutorial|memory))"', text
        )
    )
    there = {path.stem for path in (BENCHMARKS / "workers").glob("*.py")}
    assert named and named <= there


def test_an_unknown_section_is_refused_with_the_choices(capsys):
    with pytest.raises(SystemExit, match="2"):
        program.main(["tain"])
    assert f"unknown section 'tain'; choose from {', '.join(sections.SECTIONS)}" in capsys.readouterr().err


def test_the_peers_are_pinned_without_any_cuda_package():
    lines = [
        line
        for line in (BENCHMARKS / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+]+", line) for line in lines)
    assert "torch==2.13.0+cpu" in lines
    assert not [line for line in lines if re.search("nvidia|cuda|triton", line, re.IGNORECASE)]


def test_the_page_of_results_is_what_the_results_give():
    found = {section for section, _ in update_benchmarks.newest(update_benchmarks.RESULTS)}
    assert found >= {"train", "features", "linear", "int8", "head", "tutorial", "memory", "threads"}
    assert update_benchmarks.PAGE.read_text() == update_benchmarks.page(update_benchmarks.RESULTS)


def result(folder, name, kind=None, text="## Title\n\n| a |\n\n   met  b: 1 (target >= 1)"):
    environment = {
        "processor": "P",
        "cores": 2,
        "native_precision": "fp32",
        "load_before": 0.1,
        "command": "c",
    }
    if kind:
        environment["kind"] = kind
    content = {"text": text, "date": name[:10], "environment": environment}
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_the_newest_result_of_a_section_is_the_last_of_its_day(tmp_path):
    for name in ("2026-01-02-train", "2026-01-02-train-10", "2026-01-02-train-9", "2025-12-31-int8", "gpu"):
        result(tmp_path, name)
    assert {key: name for key, (name, _) in update_benchmarks.newest(tmp_path).items()} == {
        ("train", "AVX2"): "2026-01-02-train-10.json",
        ("int8", "AVX2"): "2025-12-31-int8.json",
    }


def test_no_kind_of_processor_takes_the_place_of_another_on_the_page(tmp_path):
    result(tmp_path, "2026-01-02-train")  # from before the kind was written down
    result(tmp_path, "2026-03-01-train", kind="AVX512-BF16")
    result(tmp_path, "2026-02-01-train", kind="AMX")
    page = update_benchmarks.page(tmp_path)
    assert re.findall(r"^#+ (?!Speed).*", page, re.M) == [
        "## Title",
        "### AMX",
        "### AVX512-BF16",
        "### AVX2",
    ]
    assert re.findall(r"results/(\S+)\.json\.$", page, re.M) == [
        "2026-02-01-train",
        "2026-03-01-train",
        "2026-01-02-train",
    ]


@pytest.mark.slow
def test_the_cached_cut_learns_the_same_from_less_work(tmp_path):
    out = tmp_path / "cut.json"
    subprocess.run(
        [
            sys.executable,
            BENCHMARKS / "cached_cut.py",
            "--pixels",
            "64",
            "--images",
            "20",
            "--rounds",
            "1",
            "--out",
            out,
        ],
        check=True,
        capture_output=True,
        timeout=600,
    )
    rows = json.loads(out.read_text())["rows"]
    assert [(row["trained_from"], row["cut"]) for row in rows] == [
        ("layer4", "layer3.5"),
        ("layer4.1", "layer4.0"),
    ]
    assert all(row["loss_difference"] < 1e-4 for row in rows)
    # 64 px: 4 x 4 positions of 1,024 channels, then 2 x 2 of 2,048; two sides of 50,000 images in two bytes
    # each
    assert [row["disk_bytes"] for row in rows] == [3_276_800_000, 1_638_400_000]


@pytest.mark.slow
def test_a_stem_that_does_not_shrink_costs_what_the_large_input_does(tmp_path):
    out = tmp_path / "low.json"
    subprocess.run(
        [
            sys.executable,
            BENCHMARKS / "low_resolution.py",
            "--budgets",
            "5",
            "--seeds",
            "1",
            "--validation-images",
            "100",
            "--out",
            out,
        ],
        check=True,
        capture_output=True,
        timeout=600,
    )
    rows = {(row["model"], row["pixels"]): row for row in json.loads(out.read_text())["rows"]}
    work = {way: row["flops_per_image"] for way, row in rows.items()}
    assert 15 < work["resnet50", 128] / work["resnet50", 32] < 17
    assert 0.93 < work["resnet50-small-stem", 32] / work["resnet50", 128] < 1.01
    assert all(row["images"] == 150 and len(row["accuracy"]["5"]["each"]) == 1 for row in rows.values())
