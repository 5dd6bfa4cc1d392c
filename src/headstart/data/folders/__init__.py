"""Anybody's pictures: found, decoded under limits, cached, divided for training and testing; no torch.

source = find_entries(path)             # which files, their labels, what was left out
pictures = decode_source(source, 96)    # memory-mapped pixels and a fact a file
require_mostly_good(pictures)           # DataError where too many files give no picture
division = divide(pictures)             # train / val / test, copies and groups on one side
"""

from headstart.data.folders.cache import Facts, Pictures, decode_source
from headstart.data.folders.decode import DEFAULT_LIMITS, Limits, UnreadableError, decode_image, square
from headstart.data.folders.divide import BAD_FRACTION, BadFiles, Division, divide, require_mostly_good
from headstart.data.folders.find import Entry, MixedNames, Source, find_entries, printable

__all__ = [
    "BAD_FRACTION",
    "DEFAULT_LIMITS",
    "BadFiles",
    "Division",
    "Entry",
    "Facts",
    "Limits",
    "MixedNames",
    "Pictures",
    "Source",
    "UnreadableError",
    "decode_image",
    "decode_source",
    "divide",
    "find_entries",
    "printable",
    "require_mostly_good",
    "square",
]
