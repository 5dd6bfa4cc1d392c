"""How a worker talks with the orchestrator: one JSON line when ready, then one for each "run" line it is
sent.

A worker is one contender in a process of its own, so that no two frameworks share one: its thread pools,
allocator and import-time settings are what a user of that framework alone would have.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[], Mapping[str, Any]]


class Unavailable(Exception):
    """This contender cannot do what is asked (one line why); its row says n/a."""


def serve(prepare: Callable[[dict[str, Any]], tuple[Run, Mapping[str, Any]]]) -> None:
    """Prepares (imports, data, warm-up), then runs once for each line on standard input, until it ends.

    prepare: config -> (run, what to tell about the contender: versions, choices). config: argv[1], JSON.
    A run's CPU seconds, of all its threads, are added to what it returns."""
    # Frameworks print to standard output: it goes to standard error (a log file), replies keep the real one.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(message: Mapping[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        run, about = prepare(json.loads(sys.argv[1]))
    except Unavailable as reason:
        reply({"unavailable": str(reason)})
        return
    reply({"ready": dict(about)})
    for _ in sys.stdin:
        start = time.process_time()
        reply({**run(), "cpu_seconds": time.process_time() - start})
