"""Import headstart before torch, so that waiting threads sleep, as in a run of its command line."""

import headstart  # noqa: F401
