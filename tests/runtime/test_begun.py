"""A command's minutes begin with its process."""

from __future__ import annotations

import os
import time

from headstart.runtime import begun


def test_a_command_began_when_its_process_did() -> None:
    child = os.fork()
    if child == 0:
        time.sleep(0.3)
        begun.mark_beginning()
        age = time.monotonic() - (begun.beginning() or 0.0)
        os._exit(0 if 0.28 <= age < 20 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert begun.beginning() is None  # the process of the tests is no command
