"""LitServe with the traced probe, batches of up to 32 within 5 ms: peer_litserve.py MODEL PORT"""

# Without postponed annotations: LitServe looks at the type of a request.
import io
import sys

import litserve
import numpy as np
import torch
from fastapi import Request
from PIL import Image


class Probe(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = torch.jit.load(sys.argv[1])

    def decode_request(self, request: Request) -> torch.Tensor:
        image = Image.open(io.BytesIO(request["image"].file.read())).convert("RGB")
        return torch.from_numpy(np.asarray(image).copy())

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.model(images)

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        return list(output)

    def encode_response(self, output: torch.Tensor) -> dict[str, list[float]]:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Probe(max_batch_size=32, batch_timeout=0.005), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
