"""Which images the report shows, and what each arm said about them."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.report.load import Arm, StudyView, data_uri
from headstart.results import metrics, trials
from headstart.results.trials import A_PANEL, agreement, most_confident_errors, wrong_for_all


@dataclass(frozen=True, kw_only=True)
class Answer:
    arm: Arm
    predicted: str
    confidence: float
    right: bool


@dataclass(frozen=True, kw_only=True)
class Example:
    """A test image with its true class and the arms' answers."""

    id: int
    image: str
    truth: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Images of one kind: how many there are in the test set, and those shown. `missing`: without stored
    pixels."""

    name: str
    title: str
    total: int
    examples: tuple[Example, ...]
    missing: int


def _pairs(view: StudyView) -> list[tuple[Arm, Arm]]:
    """Both directions of: two arms; of more, the most accurate arm of each way to start (from scratch, from
    weights)."""
    if len(view.arms) < 2:
        return []
    if len(view.arms) == 2:
        a, b = view.arms
    else:
        ranked = sorted(view.arms, key=lambda arm: -(arm.mean("test_accuracy") or 0.0))
        a = ranked[0]
        start = a.stored.is_pretrained
        b = next((arm for arm in ranked[1:] if arm.stored.is_pretrained != start), ranked[1])
        a, b = sorted((a, b), key=lambda arm: arm.place)
    return [(a, b), (b, a)]


def disagreements(view: StudyView) -> list[Panel]:
    """Images that one side gets right and the other wrong, both directions, the clearest cases first."""
    return [
        _panel(
            view,
            f"{a.name}-not-{b.name}",
            f"{a.label} right, {b.label} wrong",
            trials.disagreements(a.tests[0], b.tests[0]).tolist(),
            (a, b),
        )
        for a, b in _pairs(view)
    ]


def confident_errors(view: StudyView) -> list[Panel]:
    """For each arm the images that it is surest about and wrong."""
    return [
        _panel(view, f"sure-{arm.name}", arm.label, most_confident_errors(arm.tests[0]).tolist(), (arm,))
        for arm in view.arms
    ]


def hardest(view: StudyView) -> Panel:
    """Images that every arm gets wrong at every seed, the least believed labels first."""
    seeds = any(len(arm.tests) > 1 for arm in view.arms)
    arms = "every arm" if len(view.arms) > 1 else view.arms[0].label
    title = f"Wrong for {arms}{' at every seed' if seeds else ''}"
    ids = wrong_for_all([test for arm in view.arms for test in arm.tests])
    return _panel(view, "wrong-for-all", title, ids.tolist(), view.arms)


def _panel(view: StudyView, name: str, title: str, ids: list[int], arms: tuple[Arm, ...]) -> Panel:
    first_ids = ids[:A_PANEL]
    shown = [i for i in first_ids if i in view.images]
    tests = [arm.tests[0] for arm in arms]
    probabilities = [metrics.probabilities(test.logits) for test in tests]
    places = {int(i): k for k, i in enumerate(tests[0].example_ids)}
    names = view.class_names
    examples = []
    for i in shown:
        k = places[i]
        answers = tuple(
            Answer(
                arm=arm,
                predicted=names[int(p[k].argmax())],
                confidence=float(p[k].max()),
                right=bool(p[k].argmax() == tests[0].labels[k]),
            )
            for arm, p in zip(arms, probabilities, strict=True)
        )
        examples.append(
            Example(
                id=i,
                image=data_uri(view.images[i]),
                truth=names[int(tests[0].labels[k])],
                answers=answers,
            )
        )
    return Panel(
        name=name, title=title, total=len(ids), examples=tuple(examples), missing=len(first_ids) - len(shown)
    )


def overlap(view: StudyView) -> str | None:
    """In words, how far the two compared sides err on the same images."""
    pairs = _pairs(view)
    if not pairs:
        return None
    a, b = pairs[0]
    shares = agreement(a.tests[0], b.tests[0])
    return (
        f"Of {view.test_images:,} test images both get {100 * shares['both_right']:.1f} % right and "
        f"{100 * shares['both_wrong']:.1f} % wrong; only {a.label} gets {100 * shares['only_a']:.1f} % "
        "right, "
        f"only {b.label} {100 * shares['only_b']:.1f} %."
    )
