"""The page to take the model away: files, an export, commands and lines of Python that use it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from headstart.app.desk import TheProject
from headstart.app.pages import go_to, page
from headstart.app.project import in_words
from headstart.app.try_pages import has_model, model_of
from headstart.errors import ConfigError, DataError

router = APIRouter()
# Files that can be taken, and what they are.
FILES = {
    "model.safetensors": "the model, for headstart",
    "model.onnx": "the model with its preprocessing, for any program (ONNX)",
    "model.md": "its model card: what it is for, how good it is, what it learned from",
}
_PYTHON = """import headstart
from headstart.data.folders import decode_image, square

predictor = headstart.load_predictor({model!r})
image = square(decode_image("photo.jpg"), predictor.image_pixels)
probabilities = predictor.probabilities(image[None])[0]
print(predictor.class_names[probabilities.argmax()], probabilities.max())
"""


@router.get("/p/{name}/take")
def take(project: TheProject, message: str = "") -> Response:
    model = model_of(project)
    commands = (
        ("Say what images show", ["predict", str(model), "IMAGES"]),
        ("Where it looks in an image", ["explain", str(model), "IMAGE"]),
        ("Write ONNX", ["export", str(model)]),
        ("Answer over HTTP", ["serve", str(model)]),
        ("Answer over HTTP twice as fast, in int8", ["serve", str(model), "--backend", "int8"]),
    )
    job = project.jobs.last("export")
    return page(
        "take.html",
        project,
        tab="take",
        message=message,
        has_model=has_model(project),
        files=[(name, words, _size(model / name)) for name, words in FILES.items()],
        job=job,
        command=in_words(list(job.command)) if job else "",
        commands=[(words, in_words(command)) for words, command in commands],
        python=_PYTHON.format(model=str(model)),
    )


@router.post("/p/{name}/export")
def export(project: TheProject) -> Response:
    if not has_model(project):
        raise ConfigError("there is no model yet; get advice first")
    project.jobs.start("export", ["export", str(model_of(project))])
    return go_to(f"/p/{project.name}/take")


@router.get("/p/{name}/take/{file}")
def download(project: TheProject, file: str) -> Response:
    path = model_of(project) / file
    if file not in FILES or not path.exists():
        raise DataError("there is no such file; export the model first")
    return FileResponse(path, filename=f"{project.name}-{file}", media_type="application/octet-stream")


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
