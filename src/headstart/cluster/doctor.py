"""What the nodes of a cluster are, and which of them differ from this machine."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.cluster.connect import Node, nodes
from headstart.cluster.identity import Machine, differences, identity, this_machine

_SECONDS = 120.0  # for a node to start a process and answer


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A node. machine: None where it did not answer. differs: what differs from this machine, in words."""

    node: Node
    machine: Machine | None
    differs: tuple[str, ...]


def examine_nodes() -> list[Examination]:
    """Every node of the cluster that this process is connected to, looked at by a task there."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    machines = nodes()
    ask = ray.remote(this_machine)
    asked = [
        ask.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote()
        for node in machines
    ]
    reports = []
    for node, task in zip(machines, asked, strict=True):
        try:
            machine = ray.get(task, timeout=_SECONDS)
        except RayError as error:
            said = (f"it did not answer: {str(error).splitlines()[0]}",)
            reports.append(Examination(node=node, machine=None, differs=said))
        else:
            different = tuple(differences(identity(), machine.identity))
            reports.append(Examination(node=node, machine=machine, differs=different))
    return reports
