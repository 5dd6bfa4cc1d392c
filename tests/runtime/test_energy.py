"""Energy: a tree of files in powercap's form, a library with NVML's functions, and this machine's own
counters if it has any."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from tests.support import transfer_trials

from headstart.methods.frozen import training_features
from headstart.results.table import load_results
from headstart.runtime.cost import Stopwatch
from headstart.runtime.energy import Counter, Meter, counters, gpu_counter, rapl_counters
from headstart.store import finished_trials
from headstart.studies.run import run_study


def zone(root: Path, folder: str, name: str, energy: int | str, largest: int = 262_143_328_850) -> Path:
    """One zone as the kernel lays it out (flat under class/powercap)."""
    home = root / folder
    home.mkdir(parents=True)
    (home / "name").write_text(f"{name}\n")
    (home / "energy_uj").write_text(f"{energy}\n")
    (home / "max_energy_range_uj").write_text(f"{largest}\n")
    return home / "energy_uj"


def test_packages_and_memory_are_counted_once(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 500_000)
    for folder, name in (
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:1", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    ):
        zone(tmp_path, folder, name, 7)
    (tmp_path / "intel-rapl").mkdir()  # the control type itself
    found = rapl_counters(tmp_path)
    assert [counter.what for counter in found] == ["package-0", "dram"]
    with Meter(found) as meter:
        package.write_text("4500000\n")
        memory.write_text("750000\n")
    assert meter.joules == pytest.approx(3.5 + 0.25)
    assert meter.covers == "package-0, dram"


def test_a_counter_that_runs_round_goes_on(tmp_path: Path) -> None:
    energy = zone(tmp_path, "intel-rapl:0", "package-0", 99_000_000, largest=100_000_000)
    with Meter(rapl_counters(tmp_path)) as meter:
        energy.write_text("2000000")  # 1 J to the end, 2 J after it
        meter.read()
        energy.write_text("90000000")
        meter.read()
        energy.write_text("1000000")
    assert meter.joules == pytest.approx(3 + 88 + 11)


def count_to(counter: Path, value: int) -> None:
    """Change a counter's file at once, as the kernel does: no reader sees an empty file."""
    written = counter.with_name("next")
    written.write_text(str(value))
    written.replace(counter)


def test_a_long_measurement_is_read_meanwhile(tmp_path: Path) -> None:
    """Two rounds of a small counter between start and end: seen only because the meter reads on its own."""
    energy = zone(tmp_path, "intel-rapl:0", "package-0", 0, largest=10_000_000)
    (counter,) = rapl_counters(tmp_path)
    was_read = threading.Event()

    def read() -> int:
        value = counter.read()
        if value == 8_000_000:
            was_read.set()
        return value

    with Meter(
        [Counter(what="package-0", read=read, joules=1e-6, round_at=10_000_000)], read_every_seconds=0.01
    ) as meter:
        count_to(energy, 8_000_000)
        assert was_read.wait(10)
        count_to(energy, 3_000_000)
    assert meter.joules == pytest.approx(8 + 5)


def test_without_counters_there_is_no_number(tmp_path: Path) -> None:
    with Meter(rapl_counters(tmp_path)) as meter:
        pass
    assert meter.joules is None and meter.covers == ""
    assert rapl_counters(tmp_path / "nowhere") == []


def test_a_counter_that_cannot_be_read_is_none_and_one_that_fails_later_spoils_the_number(
    tmp_path: Path,
) -> None:
    (zone(tmp_path, "intel-rapl:0", "package-0", 5)).unlink()  # as where only root may read it
    assert rapl_counters(tmp_path) == []
    energy = zone(tmp_path, "intel-rapl:1", "package-1", 5)
    with Meter(rapl_counters(tmp_path)) as meter:
        energy.unlink()
    assert meter.joules is None


def test_a_count_that_falls_without_a_round_spoils_the_number() -> None:
    values = iter([10, 4])
    with Meter([Counter(what="GPU", read=lambda: next(values), joules=1e-3)]) as meter:
        pass
    assert meter.joules is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler; on Debian: apt-get install gcc")
def test_nvml_is_called_with_its_own_types(tmp_path: Path) -> None:
    """NVML's three functions with their C signatures, in a library of our own: no GPU is needed to check the
    call."""
    source = tmp_path / "nvml.c"
    source.write_text("""
#include <string.h>
typedef struct device *nvmlDevice_t;
static unsigned long long energy = 5000000000ULL; /* mJ: more than 32 bits hold */
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
  *device = (nvmlDevice_t)0x7fff12345678ULL; return strcmp(uuid, "GPU-1") ? 6 : 0; }
int nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *out) {
  if (device != (nvmlDevice_t)0x7fff12345678ULL) return 2;
  *out = energy; energy += 1500; return 0; }
""")
    library = tmp_path / "libnvml.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    counter = gpu_counter("GPU-1", str(library))
    assert counter is not None
    with Meter([counter]) as meter:
        pass
    assert meter.joules == pytest.approx(1.5)
    assert gpu_counter("GPU-2", str(library)) is None
    assert gpu_counter("GPU-1", str(tmp_path / "none.so")) is None


def test_this_machine_is_read_or_says_nothing() -> None:
    found = counters(None)
    with Meter(found) as meter:
        sum(range(100_000))
    assert (meter.joules is None) == (not found)
    assert meter.joules is None or meter.joules >= 0


def one_joule_a_reading(*_: object) -> list[Counter]:
    """A counter that moves on by 1 J at every reading."""
    ticks = itertools.count(0, 1_000_000)
    return [Counter(what="package-0", read=lambda: next(ticks), joules=1e-6)]


def test_features_keep_what_they_took_and_bring_it_to_the_trial_that_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = transfer_trials.context_of(
        "linear_probe", tmp_path, weights=transfer_trials.random_weights(tmp_path)
    )
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("headstart.runtime.energy.counters", one_joule_a_reading)
    made, found = training_features(context), training_features(context)
    assert not made.was_cached and found.was_cached
    assert made.joules == found.joules == pytest.approx(1.0)


def test_carried_joules_are_unknown_once_a_part_is() -> None:
    watch = Stopwatch()
    watch.carry_joules([2.0, 3.5])
    assert watch.carried_joules == 5.5
    watch.carry_joules([1.0, None])
    watch.carry_joules([1.0])
    assert watch.carried_joules is None


def test_a_trial_stores_its_joules_and_what_they_cover(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.runtime.energy.counters", one_joule_a_reading)
    (tmp_path / "one.toml").write_text(f"""name = "one"
dataset = "{photos}"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "1 steps", batch_size = 8, widths = [8, 8, 8] }}
""")
    folder = run_study(str(tmp_path / "one.toml"), tmp_path / "out")
    (result,) = finished_trials(folder)
    assert result.cost.joules == pytest.approx(1.0)
    assert result.environment["energy"] == "package-0"
    assert load_results(folder)["joules"].tolist() == [1.0]
