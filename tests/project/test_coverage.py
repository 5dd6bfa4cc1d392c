"""The page on what intervals cover is what its simulations give, and says what they must."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "coverage.md"


@pytest.mark.slow
def test_the_page_is_what_the_simulations_give() -> None:
    """Two minutes of one core: 1,000 studies of equal arms by number of seeds, 2,000 label curves."""
    assert subprocess.run([sys.executable, str(ROOT / "tools" / "coverage.py"), "--check"]).returncode == 0


def test_equal_arms_have_few_winners_and_label_curves_hold_nine_in_ten() -> None:
    arms, curves = PAGE.read_text().split("## Equal arms")[1].split("## Label curves")
    winners = [float(share) for share in re.findall(r"^\| \d+ \| ([\d.]+) \|", arms, re.M)]
    assert len(winners) == 3 and max(winners) <= 6.4
    shares = [int(share) for share in re.findall(r"(\d+) % of \d+", curves)]
    assert len(shares) == 8 * 3 and min(shares) >= 90
