"""Derive seeds: each generator is seeded from a trial's seed and a purpose, never from global state."""

from __future__ import annotations

import hashlib


def seed_for(seed: int, *purpose: object) -> int:
    """A 63-bit seed from a trial's seed and its purpose, e.g. seed_for(0, "batches", epoch)."""
    text = "\x1f".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
