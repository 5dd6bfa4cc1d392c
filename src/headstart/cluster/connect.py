"""A Ray cluster: connecting to one, and what its nodes have. Ray is imported when it is asked for alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headstart.errors import ConfigError
from headstart.runtime import progress
from headstart.runtime.cores import usable_cores

LOCAL = "local"  # a cluster of this machine alone, for as long as the command runs


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster. cores, gpus: what it offers to tasks."""

    id: str
    address: str
    cores: int
    gpus: int


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connected to a cluster in the block.

    address: "local", "auto" (the cluster that this machine is part of), "HOST:6379" (the same, by its head)
    or "ray://HOST:10001" (from outside).
    Raises: ConfigError where ray is not installed or nothing answers at the address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--cluster needs Ray: pip install 'headstart[ray]'") from error
    options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if address == LOCAL:
        options |= {"num_cpus": usable_cores(), "include_dashboard": False}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one with `ray "
            "start --head`, or say --cluster local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """The machines of the cluster that are alive, by address."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    live = [
        Node(
            id=node["NodeID"],
            address=node["NodeManagerAddress"],
            cores=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
        )
        for node in alive
    ]
    return sorted(live, key=lambda node: (node.address, node.id))


def slots(machines: list[Node], threads: int, gpus: int) -> list[int]:
    """How many trials each machine takes at once, of so many threads and GPUs each."""
    return [
        min(machine.cores // threads, machine.gpus // gpus if gpus else machine.cores) for machine in machines
    ]


def say_nodes() -> None:
    """Says how large the cluster is."""
    machines = nodes()
    cores, gpus = sum(node.cores for node in machines), sum(node.gpus for node in machines)
    also = f", {gpus} GPUs" if gpus else ""
    progress.say(f"cluster: {len(machines)} {'node' if len(machines) == 1 else 'nodes'}, {cores} cores{also}")
