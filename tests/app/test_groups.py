"""Rules of the user's own are tried where they can be ended."""

from __future__ import annotations

import pytest

from headstart.app import groups
from headstart.app.groups import groups_of
from headstart.app.listing import Listed, Listing
from headstart.errors import ConfigError

NAMES = [f"cat/{'a' * 60}{number}.png" for number in range(3)]
LISTING = Listing([Listed(name, name, "cat", "/") for name in NAMES], ["cat"])


@pytest.mark.parametrize("rule", [r"\w*" * 30 + "!", "(a+)+!", "(a|aa)+!"])
def test_a_rule_that_takes_for_ever_is_ended(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_SECONDS", 0.7)
    with pytest.raises(ConfigError, match=r"takes more than 0\.7 s on these names"):
        groups_of(LISTING, rule)


def test_a_rule_of_the_users_own_groups_as_the_given_ones_do() -> None:
    made = groups_of(LISTING, "^cat/(a+)+")
    assert (made.groups, made.images, made.alone) == (1, 3, 0)
    with pytest.raises(ConfigError, match="matches none of the names"):
        groups_of(LISTING, "dog")
