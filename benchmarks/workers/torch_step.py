"""A training step of plain PyTorch as it comes: the same network and batch, SGD with momentum, no loading.

torch is imported before headstart, as by a user who has torch alone: its threads wait as torch's do.
"""

from __future__ import annotations

import time
from typing import Any

import torch  # before headstart
import torch.nn.functional as F
from protocol import Run, serve

from headstart.models.cnn import CNN


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    torch.manual_seed(0)
    model = CNN(10, 32, tuple(config["widths"])).train()
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.05, momentum=0.9)
    x = torch.randn(config["batch_size"], 3, 32, 32)
    y = torch.randint(10, (len(x),))

    def run() -> dict[str, float]:
        start = time.perf_counter()
        for _ in range(config["steps"]):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=config["precision"] == "bf16"):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return {"images": config["steps"] * len(x), "seconds": time.perf_counter() - start}

    run()
    return run, {"torch": torch.__version__, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    serve(prepare)
