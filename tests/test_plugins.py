"""Entry points of installed packages join the registries when their names are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.plugin_package import write_package

from headstart import plugins
from headstart.data import DATASETS, DatasetSpec
from headstart.errors import ConfigError

Install = Callable[[str, Mapping[str, str], Mapping[str, Mapping[str, str]]], None]
GOOD = "from headstart.data import DatasetSpec\nSPEC = DatasetSpec(title='Toys', load=lambda: None)\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    def write(name: str, modules: Mapping[str, str], entries: Mapping[str, Mapping[str, str]]) -> None:
        write_package(tmp_path, name, modules, entries)
        plugins._entry_points.cache_clear()

    before = dict(DATASETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    plugins._entry_points.cache_clear()
    DATASETS.clear()
    DATASETS.update(before)
    for module in [name for name in sys.modules if name.startswith("plugged")]:
        del sys.modules[module]


def _look_up(name: str) -> DatasetSpec:
    return plugins.look_up("dataset", name, DATASETS, DatasetSpec)


def test_an_entry_joins_its_registry_when_it_is_asked_for(install: Install) -> None:
    install("plugged", {"a": GOOD}, {"datasets": {"toys": "a:SPEC"}})
    assert plugins.is_known("dataset", "toys", DATASETS) and "plugged.a" not in sys.modules
    assert _look_up("toys").title == "Toys" and DATASETS["toys"].title == "Toys"


def test_an_unknown_name_lists_what_packages_add(install: Install) -> None:
    install("plugged", {"a": GOOD}, {"datasets": {"toys": "a:SPEC"}})
    with pytest.raises(
        ConfigError, match=r"unknown dataset 'toy' \(did you mean 'toys'\?\); choose from: cifar10"
    ):
        _look_up("toy")


def test_a_package_that_cannot_be_loaded_is_named_and_stops_no_other_entry(install: Install) -> None:
    install("plugged_broken", {"a": "import nowhere"}, {"datasets": {"broken": "a:SPEC"}})
    install("plugged", {"a": GOOD}, {"datasets": {"toys": "a:SPEC"}})
    message = (
        "the package plugged_broken 1.0 adds a dataset 'broken' that cannot be loaded (ModuleNotFoundError: "
        "No module named 'nowhere'); update the package or uninstall it"
    )
    assert plugins.load_all("dataset", DATASETS, DatasetSpec) == [message]
    assert "toys" in DATASETS and "broken" not in DATASETS
    with pytest.raises(ConfigError) as raised:
        _look_up("broken")
    assert str(raised.value) == message


def test_an_entry_of_another_type_is_refused(install: Install) -> None:
    install("plugged", {"a": "SPEC = 'toys'"}, {"datasets": {"toys": "a:SPEC"}})
    with pytest.raises(
        ConfigError, match=r"plugged 1.0 adds a dataset 'toys' that is of type str, not DatasetSpec"
    ):
        _look_up("toys")


def test_two_packages_with_one_name_are_refused_together(install: Install) -> None:
    install("plugged", {"a": GOOD}, {"datasets": {"toys": "a:SPEC"}})
    install("plugged_too", {"a": GOOD}, {"datasets": {"toys": "a:SPEC"}})
    with pytest.raises(
        ConfigError, match=r"packages plugged\S* 1.0 and plugged\S* 1.0 both add a dataset 'toys'"
    ):
        _look_up("toys")


def test_a_package_never_replaces_a_built_in_entry(install: Install) -> None:
    install("plugged", {"a": GOOD}, {"datasets": {"cifar10": "a:SPEC"}})
    assert plugins.load_all("dataset", DATASETS, DatasetSpec) == []
    assert _look_up("cifar10").title.startswith("CIFAR-10")
