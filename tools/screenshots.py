"""Pictures of what the program shows, for docs/pictures, and of the documentation's pages to look at.

    python tools/screenshots.py                      docs/pictures/screen-check.png, -advise.png, -report.png
    python tools/screenshots.py --app ~/Pictures     docs/pictures/app-images.png, -advice.png, -sort.png, and
                                                     screen-advise.png of the same advice; the folder is shown
    python tools/screenshots.py --planted            docs/pictures/data-check.png, of planted faults
    python tools/screenshots.py --site FOLDER        every page of site/ (make docs) at 1280 and 390 px, light
                                                     and dark, into a folder

check and advise run on a small folder of CIFAR-10 images, which takes about three minutes (with --app, about
ten); the report is the published one. Needs playwright (the extra "dev") and a Chromium: the one named in
CHROMIUM, else the one on the path, else playwright's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
REPORT = ROOT / "report" / "report.html"
SITE = ROOT / "site"
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
_LONGEST = 4000  # pixels of a page that are looked at
_NEW = 40  # images without labels
_PATIENCE = 1_800_000  # milliseconds: on a busy machine


def chromium() -> str | None:
    """The path of a Chromium; None where playwright must find its own."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window, and without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield launched
        finally:
            launched.close()


def shoot(
    launched: Any,
    page: Path,
    target: Path,
    *,
    width: int = 1280,
    scheme: str = "light",
    whole: bool = False,
) -> None:
    """Writes a PNG of a page on disk: its first screen, or all of it up to 4,000 pixels."""
    context = launched.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True, reduced_motion="reduce"
    )
    try:
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        if whole:
            height = min(tab.evaluate("document.documentElement.scrollHeight"), _LONGEST)
            tab.set_viewport_size({"width": width, "height": height})
        target.parent.mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=str(target))
    finally:
        context.close()


def shoot_site(launched: Any, site: Path, target: Path) -> list[Path]:
    """A PNG of each page of the documentation at each width and in each scheme."""
    made = []
    for page in sorted(site.rglob("*.html")):
        name = page.relative_to(site).with_suffix("").as_posix().replace("/", "-")
        for width in WIDTHS:
            for scheme in SCHEMES:
                made.append(target / f"{name}-{width}-{scheme}.png")
                shoot(launched, page, made[-1], width=width, scheme=scheme, whole=True)
    return made


def product_pages(folder: Path) -> dict[str, Path]:
    """The pages of a data check and of an advice on a small folder of images, and the published report."""
    sys.path.insert(0, str(ROOT / "src"))
    import headstart

    train = headstart.load_dataset("cifar10").train
    photos = headstart.write_image_folder(
        train, folder / "photos", classes=["cat", "dog", "horse"], per_class=60
    )
    for command in (["data", "check", photos.name], ["advise", photos.name, "--minutes", "2"]):
        subprocess.run([sys.executable, "-m", "headstart.cli", *command], cwd=folder, check=False)
    return {
        "check": next(folder.rglob("check.html")),
        "advise": next((folder / "advice").rglob("advice.html")),
        "report": REPORT,
    }


def planted_page(folder: Path) -> Path:
    """The page of a data check of a folder into which faults were put on purpose."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    from tests.support.planted_folder import plant

    plant(folder / "photos")
    command = [sys.executable, "-m", "headstart.cli", "data", "check", "photos"]
    subprocess.run(command, cwd=folder, check=False)
    return next(folder.rglob("check.html"))


def app_pictures(launched: Any, folder: Path, minutes: float) -> list[Path]:
    """Pictures of the app on images that are made in `folder`: check, advice as it runs, sorting."""
    animals = _animals(folder)
    command = [sys.executable, "-m", "headstart.cli", "app", animals.name, "--no-browser", "--port", "0"]
    app = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout is not None
        # "headstart app: http://HOST:PORT/..."
        address = "http://" + app.stdout.readline().split("/")[2].strip()
        tab = launched.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(_PATIENCE)
        tab.goto(f"{address}/p/animals/images")
        tab.check("input[value=no]")
        tab.click("text=Keep the answer")
        tab.click("text=Check the images")
        tab.wait_for_selector("text=Check again")
        tab.wait_for_selector(".remarks li")
        made = [_picture(tab, "app-images")]
        tab.goto(f"{address}/p/animals/advice")
        tab.fill("input[name=minutes]", f"{minutes:g}")
        tab.click("form button >> text=Start")
        tab.wait_for_selector(".live svg circle >> nth=1")
        made.append(_picture(tab, "app-advice"))
        tab.wait_for_selector("text=The answer")
        tab.emulate_media(color_scheme="dark")
        tab.goto(f"{address}/p/animals/sort")
        tab.fill("input[name=path]", "new")
        tab.click("text=Sort it")
        tab.wait_for_selector(f"text={_NEW} images, least certain first")
        tab.wait_for_selector(".sorted .here")
        made.append(_picture(tab, "app-sort"))
    finally:
        app.kill()
    made.append(PICTURES / "screen-advise.png")
    shoot(launched, folder / "advice" / "animals" / "advice.html", made[-1])
    return made


def _picture(tab: Any, name: str) -> Path:
    target = PICTURES / f"{name}.png"
    tab.wait_for_load_state("networkidle")  # thumbnails
    tab.screenshot(path=str(target))
    return target


def _animals(folder: Path) -> Path:
    """Images of four classes with two faults, and beside them a folder without labels."""
    sys.path.insert(0, str(ROOT / "src"))
    import headstart

    dataset = headstart.load_dataset("cifar10")
    classes = ["cat", "dog", "frog", "horse"]
    animals = headstart.write_image_folder(dataset.train, folder / "animals", classes=classes, per_class=90)
    files = sorted((animals / "cat").iterdir())
    shutil.copy(files[0], animals / "dog" / "the-same.png")
    (animals / "dog" / "broken.png").write_bytes(files[1].read_bytes()[:400])
    with tempfile.TemporaryDirectory() as held:
        unseen = headstart.write_image_folder(
            dataset.test, Path(held) / "test", classes=classes, per_class=_NEW // len(classes)
        )
        (folder / "new").mkdir(exist_ok=True)
        for number, path in enumerate(sorted(unseen.rglob("*.png"))):
            shutil.copy(path, folder / "new" / f"{number:02}.png")
    return animals


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--site", type=Path, help="photograph the documentation into this folder instead")
    parser.add_argument(
        "--app", type=Path, metavar="FOLDER", help="photograph the app, with images made here"
    )
    parser.add_argument("--planted", action="store_true", help="photograph a check that finds much")
    parser.add_argument("--minutes", type=float, default=6, help="of the app's advice")
    arguments = parser.parse_args()
    with browser() as launched, tempfile.TemporaryDirectory() as folder:
        if arguments.site is not None:
            made = shoot_site(launched, SITE, arguments.site)
        elif arguments.planted:
            made = [PICTURES / "data-check.png"]
            shoot(launched, planted_page(Path(folder)), made[0])
        elif arguments.app is not None:
            arguments.app.mkdir(parents=True, exist_ok=True)
            made = app_pictures(launched, arguments.app, arguments.minutes)
        else:
            made = [PICTURES / f"screen-{name}.png" for name in ("check", "advise", "report")]
            for (_, page), target in zip(product_pages(Path(folder)).items(), made, strict=True):
                shoot(launched, page, target)
    print("\n".join(str(path) for path in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
