"""The commands about what is there: list, doctor."""

from __future__ import annotations

import sys

from rich.table import Table

from headstart.cli import options
from headstart.cli.output import console
from headstart.errors import ConfigError


def list_() -> None:
    """Show what there is to run.

    Studies, datasets, models with their weights, methods and recipes."""
    from headstart.cli import overview

    for problem in overview.load_plugins():
        print(problem, file=sys.stderr)
    for kind, entries in overview.entries().items():
        table = Table(
            title=kind,
            title_justify="left",
            title_style="bold",
            show_header=False,
            box=None,
            padding=(0, 2, 0, 1),
        )
        table.add_column(no_wrap=True)
        table.add_column()
        for name, words in entries.items():
            table.add_row(name, words)
        console.print(table)


def doctor(cluster: options.Cluster = None) -> None:
    """Show what this machine has and lacks.

    Versions, cores, precision, devices, the cache; what is missing and the command that mends it. With
    --cluster the nodes of a Ray cluster, and what of them differs from this machine."""
    if cluster is not None:
        _show_nodes(cluster)
        return
    from headstart.cli.doctor import examine

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    findings = examine()
    for finding in findings:
        table.add_row(("ok  " if finding.fine else "MISS") + f" {finding.what}", finding.value)
    console.print(table)
    for finding in findings:
        if not finding.fine:
            print(f"to mend {finding.what}: {finding.remedy}")


def _show_nodes(address: str) -> None:
    """Raises: ConfigError where a node differs: no study would run there."""
    from headstart.cluster.connect import connected
    from headstart.cluster.doctor import examine_nodes

    with connected(address):
        examined = examine_nodes()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for each in examined:
        node, machine = each.node, each.machine
        table.add_row(
            ("MISS" if each.differs else "ok  ") + f" {node.address}",
            f"{node.cores} cores, {node.gpus} GPUs for tasks",
            ""
            if machine is None
            else f"headstart {machine.identity.headstart}, torch {machine.identity.torch}",
            "" if machine is None else machine.processor,
        )
    console.print(table)
    processors = {each.machine.processor for each in examined if each.machine is not None}
    if len(processors) > 1:
        print("processors differ: a trial's last bits may depend on which node runs it")
    if different := [each for each in examined if each.differs]:
        words = "; ".join(f"{each.node.address}: {', '.join(each.differs)}" for each in different)
        raise ConfigError(f"nodes differ from this machine: {words}; install the same versions on every node")
