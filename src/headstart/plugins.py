"""What installed packages add to the registries: entry points, each loaded when its name is asked for.

A package names its entries in its pyproject.toml, under the registry's group:

    [project.entry-points."headstart.methods"]
    centroid = "my_package:METHOD"

The groups are headstart.methods, headstart.models, headstart.datasets and headstart.recipes. A command loads
the entries that it needs, so a package that is broken stops no other command.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, TypeVar, get_args

from headstart.errors import ConfigError, unknown_name

Kind = Literal["method", "model", "dataset", "recipe"]
Entry = TypeVar("Entry")


def is_known(kind: Kind, name: str, registry: dict[str, Entry]) -> bool:
    """Whether the registry or an installed package has an entry of that name; nothing is loaded."""
    return name in registry or name in _entry_points(kind)


def look_up(
    kind: Kind, name: str, registry: dict[str, Entry], entry_type: type[Entry], others: Iterable[str] = ()
) -> Entry:
    """The registry's entry of that name, or that of an installed package, which then joins the registry.

    others: what else the user may choose, for the message.
    Raises: ConfigError for an unknown name, with the choices; for an entry that cannot be loaded, with the
    package that it comes from."""
    if name not in registry:
        points = _entry_points(kind)
        if name not in points:
            raise unknown_name(kind, name, {*registry, *points, *others})
        registry[name] = _load(kind, points[name], entry_type)
    return registry[name]


def load_all(kind: Kind, registry: dict[str, Entry], entry_type: type[Entry]) -> list[str]:
    """Lets the entries of every installed package join the registry, whose own names come first.

    Returns: a line for each entry that cannot be loaded, naming its package."""
    problems = []
    for name in sorted(_entry_points(kind).keys() - registry.keys()):
        try:
            look_up(kind, name, registry, entry_type)
        except ConfigError as error:
            problems.append(str(error))
    return problems


def installed() -> list[str]:
    """A line for each entry that an installed package adds: what it is, whose, and of which version."""
    return sorted(
        f"{kind} {name} {point.value} {_package(point)}"
        for kind in get_args(Kind)
        for name, points in _entry_points(kind).items()
        for point in points
    )


@functools.cache
def _entry_points(kind: Kind) -> dict[str, tuple[EntryPoint, ...]]:
    """By name; more than one where packages compete for it."""
    by_name: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=f"headstart.{kind}s"):
        by_name[point.name] = (*by_name.get(point.name, ()), point)
    return by_name


def _load(kind: Kind, points: tuple[EntryPoint, ...], entry_type: type[Entry]) -> Entry:
    point, name = points[0], points[0].name
    packages = " and ".join(_package(each) for each in points)
    if len(points) > 1:
        raise ConfigError(f"the packages {packages} both add a {kind} {name!r}; uninstall one of them")
    try:
        entry = point.load()
    except Exception as error:  # whatever the code of others raises
        raise ConfigError(
            f"the package {packages} adds a {kind} {name!r} that cannot be loaded "
            f"({type(error).__name__}: {error}); update the package or uninstall it"
        ) from error
    if not isinstance(entry, entry_type):
        raise ConfigError(
            f"the package {packages} adds a {kind} {name!r} that is of type {type(entry).__name__}, not "
            f"{entry_type.__name__}; update the package or uninstall it"
        )
    return entry


def _package(point: EntryPoint) -> str:
    return "of unknown name" if point.dist is None else f"{point.dist.name} {point.dist.version}"
