"""Makes torchvision importable beside a CPU build of torch; import this before torchvision."""

from __future__ import annotations

from headstart.models.torchvision_import import import_torchvision

import_torchvision()
