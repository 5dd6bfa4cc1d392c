"""The page of the studies: running ones as they get on, finished ones with their report."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from headstart.app.advice_pages import document
from headstart.app.desk import Desk, TheDesk
from headstart.app.pages import page, render
from headstart.app.studies import StudyFolder, published_report, studies_in
from headstart.errors import DataError

router = APIRouter()


@router.get("/studies")
def studies(desk: TheDesk) -> Response:
    return page("studies.html", studies=_studies(desk), published=published_report() is not None)


@router.get("/studies/list")
def listed(desk: TheDesk) -> Response:
    return HTMLResponse(render("study_list.html", studies=_studies(desk)))


@router.get("/studies/published")
def published() -> Response:
    path = published_report()
    if path is None:
        raise DataError("the published study's report lies in the repository, report/report.html")
    return document(path)


@router.get("/studies/{place}/report")
def report(desk: TheDesk, place: str) -> Response:
    for study in _studies(desk):
        if study.name == place and study.report is not None:
            return document(study.report)
    raise DataError("there is no report of that study yet")


def _studies(desk: Desk) -> list[StudyFolder]:
    return studies_in(desk.studies)
