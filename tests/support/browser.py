"""Debian's chromium through playwright, and axe-core, which looks for what keeps people from using a page."""

from __future__ import annotations

import shutil
import tarfile
from functools import cache
from typing import Any

from headstart.data.download import fetch_npm_package

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CAMERA_FLAGS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
_AXE = (
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)


@cache
def _axe() -> str:
    with tarfile.open(fetch_npm_package(*_AXE, size_bytes=5_000_000)) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def serious_faults(page: Any) -> list[str]:
    """What axe-core calls serious or critical on the page as it is: the rule and the first element."""
    page.evaluate(_axe())  # not a script of the page: its policy allows none
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def watched(page: Any) -> list[str]:
    """The page's errors and warnings, from here on; those of a connection that is lost are the app's end."""
    errors: list[str] = []
    page.on(
        "console",
        lambda message: (
            errors.append(message.text)
            if message.type in ("error", "warning") and "ERR_CONNECTION_REFUSED" not in message.text
            else None
        ),
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors
