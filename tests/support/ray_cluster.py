"""A Ray cluster of several nodes on this machine, each with processes of its own that can be killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
_STORE_BYTES = 100_000_000
_STARTS = 4


class RayCluster:
    """A head without cores, which the driver needs, and nodes that do the work.

    cores: of each node. environment: variables that the nodes have and the driver has not."""

    def __init__(self, nodes: int = 2, cores: int = 1, **environment: str) -> None:
        from ray.cluster_utils import Cluster

        self._cores, self._environment = cores, environment
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self._add() for _ in range(nodes)]

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def _add(self):  # type: ignore[no-untyped-def]
        for left in reversed(range(_STARTS)):
            try:
                return self._cluster.add_node(
                    num_cpus=self._cores, object_store_memory=_STORE_BYTES, env_vars=self._environment
                )
            except Exception:  # Ray gives a node 30 s to start, too few on a busy machine
                if not left:
                    raise

    def kill(self, number: int) -> None:
        """SIGKILL to every process of a node, its workers included; another node takes its place."""
        node = self.nodes[number]
        raylet = node.all_processes["raylet"][0].process
        workers = _children(raylet.pid)
        for pid in (raylet.pid, *workers):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes[number] = self._add()

    def close(self) -> None:
        self._cluster.shutdown()


def _children(pid: int) -> list[int]:
    """The processes below one, by /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found
