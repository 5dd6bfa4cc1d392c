"""The bodies of requests: images from multipart files, raw bytes, or JSON with base64; all of it is data."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from headstart.serve.refusal import Refused, busy, short

_FIELD_BYTES = 10_000  # of a text field in a form
_COMMAS = 300  # in the JSON of an image: those of its name, which has up to 255 letters, and a few more


class Wishes(BaseModel):
    """What a request may ask for: in its query, its form's fields, or its JSON.

    top: classes named for each image, the likeliest first. model: its name, None: the first. class: for
    /explain, the class to explain, None: the likeliest."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    top: int | None = Field(default=None, ge=1)
    model: str | None = None
    class_: str | None = Field(default=None, alias="class")

    def joined(self, other: Wishes) -> Wishes:
        """These, and the other ones where these are left out. Raises: Refused where two contradict."""
        values: dict[str, Any] = {}
        for name in type(self).model_fields:
            mine, its = getattr(self, name, None), getattr(other, name, None)
            if mine is not None and its is not None and mine != its:
                raise Refused(400, f"{name.strip('_')} is given twice, and differently; give it once")
            values[name] = its if mine is None else mine
        return Wishes.model_validate(values)


class _JsonImage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: str
    name: str | None = None


class _JsonBody(Wishes):
    images: list[_JsonImage | str] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True)
class SentImage:
    """An image file in a request. name: as the client calls it, None where it gives none."""

    name: str | None
    content: bytes


async def read_body(request: Request, query: Wishes, max_images: int) -> tuple[list[SentImage], Wishes]:
    """The images of a request and what is asked about them. Raises: Refused for a body that is none of the
    three forms, has no image or too many."""
    _require_one_each(request)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "compressed bodies are not read; send the image files as they are")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        images, wishes = await _read_form(request, max_images)
    elif kind == "application/json":
        images, wishes = _read_json(await _whole(request), max_images)
    else:
        images, wishes = [SentImage(name=None, content=await _whole(request))], Wishes()
    return images, query.joined(wishes)


def _require_one_each(request: Request) -> None:
    """Raises: Refused for a query that says two things of one name."""
    for name in request.query_params:
        if len({*request.query_params.getlist(name)}) > 1:
            raise Refused(400, f"{short(name)} is given twice, and differently; give it once")


async def _whole(request: Request) -> bytes:
    """The body. Raises: Refused where the client has gone before it was complete; nobody reads that."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise Refused(400, "the connection was closed before the request was complete") from None


async def read_form(request: Request, max_files: int, too_many: str) -> FormData:
    """The form that a request brings, to be closed. too_many: what is said of more than `max_files` files.

    Raises: Refused, also where the disk that keeps its files is full."""
    try:
        return await request.form(max_files=max_files, max_fields=8, max_part_size=_FIELD_BYTES)
    except Refused:
        raise
    except HTTPException as error:
        if error.detail.startswith("Too many files"):
            raise Refused(413, too_many) from None
        raise Refused(400, f"the form cannot be read: {error.detail}") from None
    except OSError as error:
        raise busy(f"the disk for temporary files takes no more ({error.strerror}); free space") from error
    except Exception as error:  # parsers of damaged forms raise nearly anything
        raise Refused(400, f"the form cannot be read ({type(error).__name__})") from None


async def _read_form(request: Request, max_images: int) -> tuple[list[SentImage], Wishes]:
    images: list[SentImage] = []
    fields: dict[str, str] = {}
    form = await read_form(request, max_images, f"more than {max_images:,} images in one request")
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                images.append(SentImage(name=value.filename or None, content=await value.read()))
            elif fields.setdefault(name, value) != value:
                raise Refused(400, f"{name} is given twice, and differently; give it once")
    finally:
        await form.close()
    if not images:
        raise Refused(400, "the form holds no file; send images as files, as in curl -F image=@photo.jpg")
    try:
        return images, Wishes.model_validate(fields)
    except ValidationError as error:
        raise Refused(400, one_line(error.errors(), "the form")) from None


def _read_json(content: bytes, max_images: int) -> tuple[list[SentImage], Wishes]:
    # Before it is parsed: ten million small values take gigabytes.
    if content.count(b",") > _COMMAS * (max_images + 1):
        raise Refused(413, f"the JSON has more values than {max_images:,} images have; send fewer images")
    try:
        body = _JsonBody.model_validate_json(content)
    except ValidationError as error:
        raise Refused(400, one_line(error.errors(), "the JSON")) from None
    if len(body.images) > max_images:
        raise Refused(413, f"{len(body.images):,} images in one request; at most {max_images:,} are taken")
    images = []
    for number, image in enumerate(body.images, 1):
        name, text = (None, image) if isinstance(image, str) else (image.name, image.data)
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            images.append(SentImage(name=name, content=base64.b64decode(text, validate=True)))
        except (binascii.Error, ValueError):
            raise Refused(400, f"image {number} is not base64; encode the bytes of its file") from None
    return images, body


def one_line(errors: Sequence[Any], what: str) -> str:
    """The first of pydantic's errors as one line. what: was checked, the start of the line."""
    first = errors[0]
    place = " ".join(str(part) for part in first["loc"])
    return f"{what} is not as expected: {f'{short(place)}: ' if place else ''}{first['msg']}"


def json_example() -> dict[str, Any]:
    """The schema of the JSON body, for OpenAPI, without references."""
    text = {"type": "string", "description": "base64 of an image file"}
    image = {"type": "object", "properties": {"data": text, "name": {"type": "string"}}, "required": ["data"]}
    return {
        "type": "object",
        "properties": {
            "images": {"type": "array", "minItems": 1, "items": {"anyOf": [text, image]}},
            "top": {"type": "integer", "minimum": 1},
            "model": {"type": "string"},
            "class": {"type": "string"},
        },
        "required": ["images"],
        "example": json.loads('{"images": [{"name": "photo.png", "data": "iVBORw0KGgo="}], "top": 3}'),
    }
