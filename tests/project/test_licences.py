"""What is shipped is listed with its licence, and the list is true: packages of locks, contents of files."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
licences = importlib.import_module("licences")
# Of others, or made of others' work: minified scripts, fonts, pictures and archives of arrays.
OTHERS = re.compile(r".*(\.min\.(js|css)|\.woff2?|\.[ot]tf|\.zip|\.whl|\.tgz|\.onnx|\.npy)\Z")
ROW = re.compile(r"^\| (?P<name>\S+) \| (?P<version>\S+) \| (?P<licence>[^|]+) \| (?P<by>[^|]+) \|$", re.M)


def stated() -> dict[str, tuple[str, str]]:
    """Version and licence by package, of the page."""
    text = licences.PAGE.read_text(encoding="utf-8").partition("## Packages")[2]
    return {
        row["name"]: (row["version"], row["licence"])
        for row in ROW.finditer(text)
        if row["name"] != "package"
    }


def test_the_page_is_what_the_locks_and_files_give() -> None:
    found = {name: licence for name, (_, licence) in stated().items()}
    assert found.keys() == licences.pinned("study", "all", "torch-gpu").keys(), (
        "run: python tools/licences.py"
    )
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(found), "run: python tools/licences.py"


def test_every_package_states_a_licence_and_the_installed_ones_state_this_one() -> None:
    page = stated()
    assert [name for name, (_, licence) in page.items() if licence == "not stated"] == []
    here = {licences.canonicalize_name(each.name): each for each in metadata.distributions()}
    for name in page.keys() & here.keys():
        about = here[name].metadata
        described = {
            "name": name,
            "license_expression": about.get("License-Expression"),
            "license": about.get("License"),
            "classifier": about.get_all("Classifier") or [],
        }
        if here[name].version.partition("+")[0] == page[name][0]:
            assert licences.licence_of(described) == page[name][1], name


def test_every_file_of_others_is_listed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    listed = {
        path.relative_to(ROOT).as_posix() for each in licences.SHIPPED for path in licences.files_of(each)
    }
    assert [name for name in tracked.splitlines() if OTHERS.match(name) and name not in listed] == []
    assert [each.pattern for each in licences.SHIPPED if not licences.files_of(each)] == []


def test_the_sbom_is_cyclonedx_and_holds_the_packages_and_the_package_s_files() -> None:
    text = licences.SBOM.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    packages = {each["name"]: each["version"] for each in components if each["type"] == "library"}
    assert packages == licences.pinned("study", "all", "torch-gpu"), "run: python tools/licences.py"
    files = {each["name"]: each["hashes"][0]["content"] for each in components if each["type"] == "file"}
    assert "src/headstart/app/static/htmx.min.js" in files
    for name, digest in files.items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == digest, (
            "run: python tools/licences.py"
        )


def test_the_script_is_the_version_that_is_stated() -> None:
    (htmx,) = (each for each in licences.SHIPPED if each.what == "htmx")
    (path,) = licences.files_of(htmx)
    assert f'version:"{htmx.version}"' in path.read_text(encoding="utf-8")
