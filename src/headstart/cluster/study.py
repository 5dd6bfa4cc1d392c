"""A study whose trials run on a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

from headstart.cluster.connect import connected, say_nodes
from headstart.cluster.engine import RayEngine
from headstart.studies.begin import RunOptions
from headstart.studies.run import run_study
from headstart.types import Study


def run_on_cluster(
    address: str,
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, str] | None = None,
    seeds: int | None = None,
    **options: Unpack[RunOptions],
) -> Path:
    """As run_study, each missing trial a task of the cluster at `address` (see `connected`).

    The driver writes all files; the nodes need no folder in common. Raises: as run_study; ConfigError where
    ray is not installed, nothing answers, or a node has other versions."""
    with connected(address):
        say_nodes()
        options["engine"] = RayEngine()
        return run_study(study, out, changes=changes, seeds=seeds, **options)
