"""What changes while a job runs, sent to pages as it changes (server-sent events), and stopping a job."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from headstart.app.advice_pages import advice_fragment
from headstart.app.desk import TheDesk, TheProject
from headstart.app.pages import go_to, render
from headstart.app.project import Project, in_words
from headstart.serve.refusal import Refused

_EVERY_SECONDS = 0.7
_LONGEST_SECONDS = 3600.0  # then the page asks anew
KINDS = {"check": "images", "advice": "advice", "sort": "sort", "export": "take"}  # and their pages


router = APIRouter()


@router.get("/p/{name}/live/{kind}")
async def live(project: TheProject, desk: TheDesk, kind: str) -> Response:
    _require(kind)
    return StreamingResponse(_changes(project, kind, desk.ending), media_type="text/event-stream")


@router.post("/p/{name}/stop/{kind}")
def stop(project: TheProject, kind: str) -> Response:
    job = project.jobs.last(_require(kind))
    if job is not None:
        job.stop()
    return go_to(f"/p/{project.name}/{KINDS[kind]}")


def _require(kind: str) -> str:
    if kind not in KINDS:
        raise Refused(404, "there is no such job")
    return kind


def fragment(project: Project, kind: str) -> tuple[str, bool]:
    """How the last job of a kind stands, as HTML; and whether it runs."""
    job = project.jobs.last(kind)
    text = render(
        "job.html", name=project.name, kind=kind, job=job, command=in_words(list(job.command)) if job else ""
    )
    if kind == "advice":
        text += advice_fragment(project)
    return text, job is not None and job.is_running


async def _changes(project: Project, kind: str, ending: asyncio.Event) -> AsyncIterator[str]:
    """The fragment as often as it changes; at the end of the job, `end`, and the page loads itself anew.
    Where the app ends, nothing more: the page asks again by itself."""
    yield "retry: 1000\n\n"
    before = ""
    for _ in range(int(_LONGEST_SECONDS / _EVERY_SECONDS)):
        text, is_running = await run_in_threadpool(fragment, project, kind)
        if text != before:
            before = text
            yield "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
        if not is_running:
            yield "event: end\ndata: end\n\n"
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), _EVERY_SECONDS)
            return
