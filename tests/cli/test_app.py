"""The command line as a user meets it: real processes, exit codes, one line for each mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import headstart as package
from headstart.store import lock


def test_version(cold_headstart) -> None:
    done = cold_headstart("--version")
    assert (done.returncode, done.stdout) == (0, f"headstart {package.__version__}\n")


def test_list_names_studies_datasets_models_and_methods(headstart) -> None:
    done = headstart("list")
    assert done.returncode == 0
    for name in ("cifar10-quick", "cifar10", "resnet50", "imagenet-keras", "linear_probe", "cnn-fast"):
        assert name in done.stdout


def test_doctor_says_what_there_is(headstart) -> None:
    done = headstart("doctor")
    assert done.returncode == 0
    for word in ("torch", "cores", "precision", "cache", "dataset cifar10", "npm"):
        assert word in done.stdout
    assert done.stdout.count("weights of resnet50") == 1  # one file serves every form of the network


def test_doctor_on_an_empty_cache_names_the_command_that_mends_it(headstart, tmp_path: Path) -> None:
    done = headstart("doctor", HEADSTART_CACHE=str(tmp_path / "empty"))
    assert done.returncode == 0
    assert "to mend dataset cifar10: headstart data fetch cifar10" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("study", "cifar10-quik"), 2, "unknown study 'cifar10-quik' (did you mean 'cifar10-quick'?)"),
        (("study", "missing.toml"), 2, "study file missing.toml is not there"),
        (("study", "--seeds", "0"), 2, "--seeds must be at least 1, got 0"),
        (("study", "--seeds", "two"), 2, "Invalid value for '--seeds'"),
        (("study", "--set", "arms.cnn.model"), 2, "is not KEY=VALUE"),
        (
            ("study", "--set", "arms.cnn.model=resnet51"),
            2,
            "unknown model 'resnet51' (did you mean 'resnet50'?)",
        ),
        (("study", "--set", "arms.cnn.method=frozen"), 2, "unknown method 'frozen'"),
        (
            ("study", "--set", "arms.probe.weights=https://example.org/resnet50.pth"),
            2,
            "cannot be verified: its file name",
        ),
        (
            ("study", "--set", "arms.probe.weights=https://me:key@example.org/r-0123abcd.pth"),
            2,
            "has a user name or a query",
        ),
        (("study", "--feature-precision", "int9"), 2, "'int9'"),
        (("study", "--feature-precision", "int8", "--set", "feature_precision=fp32"), 2, "differ; give one"),
        (("study", "--out", "/dev/null/here"), 6, "/dev/null/here: Not a directory; give another path"),
        (("report", "a" * 5000), 6, "a path of 5,000 letters, its longest name of 5,000"),
        (("data", "fetch", "cifar11"), 2, "unknown dataset 'cifar11' (did you mean 'cifar10'?)"),
        (("report", "nowhere"), 6, "nowhere"),
        (("stduy",), 2, "stduy"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(
    headstart, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = headstart(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "check", "PATH"),
        ("advise", "photos", "--out", "PATH"),
        ("serve", "PATH"),
        ("study", "--out", "PATH"),
        ("report", "PATH"),
    ],
)
@pytest.mark.parametrize("path", ["loop", "file/below", "n" * 300])
def test_what_is_no_path_is_named_and_no_disk_is_blamed(
    headstart, tmp_path: Path, photos: Path, arguments: tuple[str, ...], path: str
) -> None:
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "loop")
    done = headstart(*(path if each == "PATH" else each for each in arguments))
    assert done.returncode in (2, 6) and "free space" not in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert path.split("/")[0][:30] in done.stderr


def test_a_folder_in_use_is_busy(headstart, tmp_path: Path) -> None:
    with lock(tmp_path / "out" / "lock", "it"):
        done = headstart("study", "--out", "out")
    assert done.returncode == 7
    assert "in use by another headstart process" in done.stderr


def test_no_npm_and_no_network_says_what_to_do(headstart, tmp_path: Path) -> None:
    python_only = tmp_path / "bin"
    python_only.mkdir()
    done = headstart(
        "data", "fetch", "cifar10", HEADSTART_CACHE=str(tmp_path / "cache"), PATH=str(python_only)
    )
    assert done.returncode == 4
    assert "npm" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_damaged_weights_stop_a_study_before_it_computes(headstart, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"not weights")
    done = headstart("study", "--set", "arms.probe.weights=mine.safetensors", "--out", "out")
    assert done.returncode == 5
    assert "mine.safetensors" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("*/trial.json"))


def test_a_full_disk_is_one_line(headstart, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=64k tmpfs {small} 2>/dev/null"):
        pytest.skip("needs the right to mount a small disk")
    try:
        done = headstart("data", "fetch", "cifar10", HEADSTART_CACHE=str(small))
        assert done.returncode == 6
        assert "free" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    finally:
        os.system(f"umount {small}")


def test_failed_trials_give_their_own_exit_code_and_keep_the_others(
    headstart, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "two.toml").write_text(f"""name = "two"
dataset = "{photos}"
[[arms]]
name = "good"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "1 steps", batch_size = 8, widths = [8, 8, 8] }}
[[arms]]
name = "bad"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "60 steps", batch_size = 8, widths = [8, 8, 8], head_learning_rate = 4e37 }}
""")
    done = headstart("study", "two.toml", "--out", "out")
    assert done.returncode == 8, done.stderr
    assert "1 of 2 trials failed" in done.stderr and "learning rate" in done.stderr
    assert len(list((tmp_path / "out").glob("*/result.json"))) == 1


def test_ctrl_c_ends_in_one_line_and_its_exit_code(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(f"""name = "long"
dataset = "{photos}"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "100000 epochs", batch_size = 8, widths = [8, 8, 8] }}
""")
    command = [sys.executable, "-m", "headstart.cli", "study", "long.toml", "--out", "out"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "out").glob("*/checkpoint.safetensors")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; finished trials are kept" in errors.splitlines()[-1] and "Traceback" not in errors
