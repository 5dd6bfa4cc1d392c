"""The routes: images in, class probabilities or a Grad-CAM out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from headstart.errors import HeadstartError
from headstart.runtime.show import printable
from headstart.serve.bodies import Wishes, json_example, one_line, read_body
from headstart.serve.decoder import Decoder
from headstart.serve.guard import Guard, Rules
from headstart.serve.metrics import Metrics
from headstart.serve.refusal import Refused, busy, short
from headstart.serve.served import ServedModel
from headstart.serve.settings import Settings
from headstart.serve.worker import Worker
from headstart.version import __version__

Value = TypeVar("Value")
_LOG = logging.getLogger("headstart.serve")
_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": _FILE}},
                    "required": ["images"],
                }
            },
            "application/json": {"schema": json_example()},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
_PROBES = ("/healthz", "/readyz")  # asked by machines without a token, and answered however busy
_RULES = Rules(
    free=_PROBES,
    always=_PROBES,
    paths=(*_PROBES, "/predict", "/explain", "/models", "/metrics", "/openapi.json"),
)
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    for status, text in {
        400: "A request that makes no sense.",
        404: "No such model or address.",
        413: "Too many bytes or images.",
        422: "A body that is no image, or a model that cannot be explained.",
        503: "Too busy: try again after the seconds of Retry-After.",
    }.items()
}


class Service:
    """The models of a server with what answers for them; close() drains it."""

    def __init__(self, models: Mapping[str, ServedModel], settings: Settings) -> None:
        self.models, self.settings, self.metrics = models, settings, Metrics()
        self.decoder = Decoder(settings.limits)
        self.worker = Worker(settings.max_batch, settings.max_wait_ms, self.metrics.computed)

    def model(self, name: str | None) -> ServedModel:
        """The model of a name, None: the first. Raises: Refused (404)."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refused(
                404, f"there is no model {short(name)}; choose from {', '.join(map(short, self.models))}"
            )
        return self.models[name]

    async def predict(self, request: Request, query: Wishes) -> dict[str, Any]:
        """The likeliest classes of each image of a request. Raises: Refused."""
        images, wishes = await read_body(request, query, self.settings.max_images)
        if wishes.class_ is not None:
            raise Refused(400, "/predict names the likeliest classes; class belongs to /explain")
        model = self.model(wishes.model)
        predictor = model.predictor
        with self.worker.expecting():
            squares = await self._in_time(
                self.decoder.squares(images, predictor.image_pixels, predictor.saved.reading)
            )
        probabilities = await self._computed(self.worker.probabilities(model, squares))
        count = min(wishes.top or 1, len(predictor.class_names))
        answers = [
            {"name": image.name and printable(image.name), "predictions": _best(model, row, count)}
            for image, row in zip(images, probabilities, strict=True)
        ]
        return {"model": printable(model.name), "images": answers}

    async def explain(self, request: Request, query: Wishes) -> bytes:
        """The Grad-CAM of the one image of a request, a PNG. Raises: Refused."""
        from headstart.predict.gradcam import draw_explanation

        images, wishes = await read_body(request, query, self.settings.max_images)
        if len(images) != 1 or wishes.top is not None:
            raise Refused(400, "/explain takes one image, and model and class alone")
        model = self.model(wishes.model)
        names = model.predictor.class_names
        if wishes.class_ is not None and wishes.class_ not in names:
            shown_names = ", ".join(map(short, names[:20]))
            raise Refused(400, f"there is no class {short(wishes.class_)}; choose from {shown_names}")
        (pixels,) = await self._in_time(self.decoder.pixels(images, model.predictor.saved.reading))
        draw = partial(_drawn, draw_explanation, model, pixels, wishes.class_)
        content: bytes = await self._computed(self.worker.call(model, draw))
        return content

    def close(self) -> None:
        """Ends the worker when all that has come is computed."""
        self.worker.close()

    async def _computed(self, future: Future[Value]) -> Value:
        answer: Value = await self._in_time(asyncio.wrap_future(future))
        return answer

    async def _in_time(self, awaitable: Any) -> Any:
        try:
            return await asyncio.wait_for(awaitable, self.settings.timeout_seconds)
        except TimeoutError:
            raise busy(
                f"no answer within {self.settings.timeout_seconds:g} s; try again with fewer images"
            ) from None


def _drawn(
    draw: Callable[..., tuple[Any, bytes]], model: ServedModel, pixels: Any, class_name: str | None
) -> bytes:
    return draw(model.predictor, pixels, class_name, model.network)[1]


def _best(model: ServedModel, row: np.ndarray[Any, Any], count: int) -> list[dict[str, object]]:
    """The likeliest classes, as `headstart predict` orders them."""
    names = model.predictor.class_names
    return [
        {"class": printable(names[label]), "probability": float(row[label])}
        for label in (-row).argsort(kind="stable")[:count]
    ]


def application(service: Service) -> ASGIApp:
    """The routes of a service behind its guard."""
    app = FastAPI(title="headstart serve", version=__version__, docs_url=None, redoc_url=None)
    _add_errors(app)

    @app.post("/predict", openapi_extra=_BODY, responses=_ERRORS)
    async def predict(request: Request, query: Annotated[Wishes, Query()]) -> JSONResponse:
        """The likeliest classes of each image, with their probabilities."""
        return JSONResponse(await service.predict(request, query))

    @app.post("/explain", openapi_extra=_BODY, responses=_ERRORS)
    async def explain(request: Request, query: Annotated[Wishes, Query()]) -> Response:
        """Where in an image a model found its answer (Grad-CAM): a PNG."""
        return Response(await service.explain(request, query), media_type="image/png")

    @app.get("/models")
    async def models() -> JSONResponse:
        """The models, the first of which answers where a request names none."""
        return JSONResponse({"models": [model.description() for model in service.models.values()]})

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", responses={503: _ERRORS[503]})
    async def readyz() -> JSONResponse:
        """Whether predictions are computed: the models are loaded, and the server does not end."""
        if not service.worker.is_alive:
            raise busy("the server is ending")
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return Guard(app, service.settings, service.metrics, _RULES)


def _add_errors(app: FastAPI) -> None:
    """Every error is {"error": one line}."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return Refused(400, one_line(error.errors(), "the request")).response()

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        line = {
            404: "there is nothing at this address; GET /openapi.json names all that there are",
            405: f"{short(request.method)} is not answered here; GET /openapi.json says what is",
        }.get(error.status_code, str(error.detail))
        return Refused(error.status_code, line, error.headers).response()

    @app.exception_handler(HeadstartError)
    async def refused_by_model(_: Request, error: HeadstartError) -> Response:
        return Refused(422, str(error)).response()

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        _LOG.error("a request failed", exc_info=error)
        return Refused(500, "the server failed at this request; its log says where").response()
