"""A whole report as a document, its parts in a paper's order."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.data_quality.record import Health
from headstart.report.chapters import closing, generalization, images, opening, results, study
from headstart.report.document import Block, Contents, Details, Document, Group, Heading, Section, plain, text
from headstart.report.load import StudyView
from headstart.report.sections import health, labels

Parts = Sequence[tuple[str, str, tuple[Section | None, ...]]]  # id, title, sections


def compose(view: StudyView, files: str = "") -> Document:
    """The report of a study: its first part, then an appendix with all else. files: where the trials'
    folders are,
    seen from the page, e.g. "trials/"; "" beside it."""
    fits = labels.fit_all(view)
    blocks: list[Block] = []
    entries: list[tuple[str, str]] = []
    for name, title, sections in _appendix(view, fits, files):
        blocks.append(Heading(level=2, text=text(title), id=name, kind="part"))
        for section in sections:
            if section is not None:
                blocks.append(section)
                entries.append((_title(section), f"#{section.id}"))
    contents = Section(
        id="contents",
        blocks=(
            Heading(level=2, text=text("Appendix")),
            Details(
                summary="Contents",
                blocks=(Contents(title="Contents of the appendix", entries=tuple(entries)),),
            ),
        ),
    )
    first = Group(layout="front", blocks=(*_first(view, fits), contents))
    return Document(
        title=view.study.title,
        eyebrow=f"Headstart study · {view.study.name}",
        question=view.study.question,
        blocks=(first, Group(layout="appendix", blocks=tuple(blocks))),
        footer="Rendered by Headstart from the study’s folder alone; every number traces to a trial above.",
        many=len(view.arms) > 4,
    )


def _first(view: StudyView, fits: Sequence[labels.Fitted]) -> tuple[Block, ...]:
    """The first part: at most six pages, or three screens."""

    def there(*sections: Section | None) -> tuple[Section, ...]:
        return tuple(section for section in sections if section is not None)

    return (
        opening.the_answer(view),
        *there(opening.verdicts(view)),
        opening.in_two_figures(view, fits),
        Group(layout="pair", blocks=there(opening.ladder(view), opening.published(view))),
        opening.choose(view),
        Group(layout="pair", blocks=(opening.limits(view), opening.again(view))),
    )


def _appendix(view: StudyView, fits: Sequence[labels.Fitted], files: str) -> Parts:
    """All else, in a paper's order."""
    return (
        (
            "study",
            "The study",
            (study.data(view), study.methods(view), study.fairness(view), study.tuned(view)),
        ),
        (
            "results",
            "Results",
            (
                results.side_by_side(view),
                results.how_they_learn(view),
                results.time_to_accuracy(view),
                results.costs(view),
                results.label_budgets(view, fits),
                results.fine_tuning(view),
                results.controls(view),
            ),
        ),
        (
            "generalization",
            "Generalization",
            (
                generalization.gap(view),
                generalization.which_mistakes(view),
                generalization.confidence(view),
                generalization.corrupted(view),
                generalization.shifted(view),
                images.what_they_say(view),
                images.where_they_look(view),
                images.data_health(view),
            ),
        ),
        (
            "record",
            "Claims, threats and record",
            (closing.claims(view), closing.threats(view), closing.bill(view), closing.again(view, files)),
        ),
    )


def _title(section: Section) -> str:
    return next(plain(block.text) for block in section.blocks if isinstance(block, Heading))


def health_document(examination: Health) -> Document:
    """The section on data health as a document of its own, for data that no study is about."""
    return Document(
        title=f"{examination.dataset['title']}: data health",
        eyebrow="Headstart data health",
        question="",
        blocks=(images.health_section(health.describe(examination)),),
    )
