"""Where the program keeps what can be fetched or computed again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Where data, weights and features are kept: HEADSTART_CACHE, else the platform's user cache folder."""
    configured = os.environ.get("HEADSTART_CACHE")
    return (
        Path(configured).expanduser()
        if configured
        else Path(platformdirs.user_cache_dir("headstart", appauthor=False))
    )
