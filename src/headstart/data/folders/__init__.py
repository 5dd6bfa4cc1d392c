"""A user's own images: list the files, decode them under limits, cache them, split them; no torch.

source = find_entries(path)             # the files, their labels, what was left out
decoded = decode_source(source, 96)     # memory-mapped pixels, and a record of each file
decode_decided(path, 96, options)       # both, with the decisions about single images carried out
require_mostly_good(decoded)            # DataError where too many files give no image
division = divide(decoded)              # train / val / test; duplicates and groups stay on one side
"""

from headstart.data.folders.cache import DecodedSource, decode_source, reading_from
from headstart.data.folders.decided import decode_decided, find_decided
from headstart.data.folders.decode import DEFAULT_LIMITS, Limits, UnreadableError, decode_image, square
from headstart.data.folders.divide import (
    BAD_FRACTION,
    BadFiles,
    Division,
    divide,
    require_mostly_good,
)
from headstart.data.folders.find import Entry, MixedNames, Source, find_entries
from headstart.data.folders.layout import Layout, Note
from headstart.data.folders.options import DEFAULT_OPTIONS, SourceOptions
from headstart.data.folders.rows import Facts
from headstart.runtime.show import printable, shown

__all__ = [
    "BAD_FRACTION",
    "DEFAULT_LIMITS",
    "DEFAULT_OPTIONS",
    "BadFiles",
    "DecodedSource",
    "Division",
    "Entry",
    "Facts",
    "Layout",
    "Limits",
    "MixedNames",
    "Note",
    "Source",
    "SourceOptions",
    "UnreadableError",
    "decode_decided",
    "decode_image",
    "decode_source",
    "divide",
    "find_decided",
    "find_entries",
    "printable",
    "reading_from",
    "require_mostly_good",
    "shown",
    "square",
]
