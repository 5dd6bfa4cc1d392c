"""FastAPI and torch as most write it, a call of the traced probe a request: peer_fastapi.py MODEL PORT"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, File
from PIL import Image

MODEL = torch.jit.load(sys.argv[1])
app = FastAPI()


@app.post("/predict")
def predict(image: Annotated[bytes, File()]) -> dict[str, list[float]]:
    pixels = torch.from_numpy(np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).copy())
    with torch.inference_mode():
        return {"probabilities": MODEL(pixels[None])[0].tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
