"""Which images belong together, by a rule on their names: the groups that it gives, to be looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.app.listing import Listing
from headstart.errors import ConfigError, DataError

# Each is searched for in an image's path; what it matches names the group.
RULES = (
    (r"^(?:.*/)?[^\W_]+(?=(?:_|[^\w/]))", "the first word of the name: rex_03.jpg, rex_04.jpg"),
    (
        r"^.*[^\W_](?=(?:_|[^\w/])+[^\W_]+\.[^./]+$)",
        "the name without its last word: plate-7-left.png, plate-7-right.png",
    ),
    (r"^.*?[^\d/](?=\d+\.[^./]+$)", "the name without its last number: walk12.png, walk13.png"),
    (r"^.+/(?=[^/]+$)", "the folder that it lies in"),
)
_LONGEST = 300  # letters of a rule
_TRIED = 20_000  # images
_SHOWN = 12
_SECONDS = 5.0  # that a rule of the user's own may take
_SEARCH = """
import json, re, sys
rule, names = json.load(sys.stdin)
pattern = re.compile(rule)
json.dump([match[0] if (match := pattern.search(name)) else "" for name in names], sys.stdout)
"""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """largest: (group, size, three of its images), the largest first. images: that were looked at."""

    groups: int
    images: int
    alone: int
    largest: tuple[tuple[str, int, tuple[str, ...]], ...]


def groups_of(listing: Listing, rule: str) -> Groups:
    """The groups that a rule gives. Raises: ConfigError for a rule that is none, or matches nothing."""
    names = list(listing.by_name)[:_TRIED]
    if not names:
        raise DataError("there are no images yet")
    if rule in {each for each, _ in RULES}:
        keys = [match[0] if (match := re.search(rule, name)) else "" for name in names]
    else:
        keys = _searched(_checked(rule), names)
    sizes = Counter(key for key in keys if key)
    if not sizes:
        raise ConfigError(f"the rule {rule!r} matches none of the names, e.g. {names[0]}")
    members: dict[str, list[str]] = {}
    for name, key in zip(names, keys, strict=True):
        members.setdefault(key, []).append(name)
    return Groups(
        groups=len(sizes),
        images=len(names),
        alone=sum(size == 1 for size in sizes.values()) + keys.count(""),
        largest=tuple((key, size, tuple(members[key][:3])) for key, size in sizes.most_common(_SHOWN)),
    )


def _searched(rule: str, names: Sequence[str]) -> list[str]:
    """What a rule of the user's own matches of each name, "" where nothing; in a process of its own, for some
    rules take for ever and nothing else here would run meanwhile. Raises: ConfigError."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SEARCH],
            input=json.dumps([rule, names]).encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"the rule {rule!r} takes more than {_SECONDS:g} s on these names; repeat less in it"
        ) from None
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"the rule {rule!r} cannot be tried on these names ({error})") from error
    keys: list[str] = json.loads(done.stdout)
    return keys


def _checked(rule: str) -> str:
    """A rule of the user's own. Raises: ConfigError."""
    if not 0 < len(rule) <= _LONGEST:
        raise ConfigError(f"a rule has 1 to {_LONGEST} letters")
    try:
        re.compile(rule)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"{rule!r} is no regular expression ({error})") from error
    return rule
