"""A user's images as the commands take them: found, decoded, and decided on."""

from __future__ import annotations

from pathlib import Path

from headstart.data.folders.cache import DecodedSource, decode_source
from headstart.data.folders.decisions import decided, read_decisions, with_added
from headstart.data.folders.find import Source, find_entries
from headstart.data.folders.options import SourceOptions
from headstart.data.folders.sample import sampled


def find_decided(path: Path, options: SourceOptions) -> Source:
    """Every image of a folder, zip or table, those that were added among them, or the sample of options.

    Raises: as find_entries."""
    source = find_entries(path, **options.finding())
    if options.decisions is not None:
        source = with_added(source, Path(options.decisions))
    return sampled(source, options.sample)


def decode_decided(path: Path, image_pixels: int, options: SourceOptions) -> DecodedSource:
    """The images of find_decided at (image_pixels, image_pixels), decisions about single ones carried out.

    Raises: as find_entries and decode_source; DataError for a file of decisions that cannot be read."""
    decoded = decode_source(find_decided(path, options), image_pixels, reading=options.reading)
    return decoded if options.decisions is None else decided(decoded, read_decisions(Path(options.decisions)))
