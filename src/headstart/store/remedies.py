"""What to do about a damaged file, in words.

A remedy works, and loses nothing that can be read: tests/project/test_remedies.py does what each says.
"""

from __future__ import annotations

from pathlib import Path

PUBLISHED = "put the file back as it was published"
_PUBLISHED = f"in a folder of published trials {PUBLISHED}"
TRIAL = (
    "run its study again, which computes this trial anew and keeps the others; of published trials "
    f"{PUBLISHED}"
)
STUDY = (
    "run the study again with the same command, which writes it anew and keeps every finished trial; "
    f"{_PUBLISHED}"
)
SEARCH = f"run `headstart tune` again with the same command, which sets it aside and tries anew; {_PUBLISHED}"
READING = (
    "run `headstart robustness`, `headstart shift` or the study again, whichever wrote it: that makes it "
    f"anew and keeps all else; {_PUBLISHED}"
)
HEALTH = (
    "examine the data again with `headstart data health` or the study's command, which writes health.json "
    f"and health.npz anew; {_PUBLISHED}"
)
OUTPUT = "run the command that wrote its folder again with another --out, or put the file back as it was"
CACHED = "run the same command again, which makes it anew"


def retrain(folder: Path) -> str:
    """What to do about a trial whose model cannot be used. folder: the trial's."""
    return (
        f"take another copy of it, or rename {folder / 'result.json'} to result.json.damaged and run its "
        "study again without --published: that trains this trial anew and keeps the others"
    )
