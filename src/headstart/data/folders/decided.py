"""A user's images as the commands take them: found, decoded, and decided on."""

from __future__ import annotations

from pathlib import Path

from headstart.data.folders.cache import DecodedSource, decode_source
from headstart.data.folders.decisions import decided, read_decisions, with_added
from headstart.data.folders.find import find_entries
from headstart.data.folders.options import SourceOptions


def decode_decided(path: Path, image_pixels: int, options: SourceOptions) -> DecodedSource:
    """Every image of a folder, zip or table at (image_pixels, image_pixels), with the decisions about single
    ones carried out.

    Raises: as find_entries and decode_source; DataError for a file of decisions that cannot be read."""
    source = find_entries(path, **options.finding())
    if options.decisions is None:
        return decode_source(source, image_pixels, reading=options.reading)
    decisions = Path(options.decisions)
    decoded = decode_source(with_added(source, decisions), image_pixels, reading=options.reading)
    return decided(decoded, read_decisions(decisions))
