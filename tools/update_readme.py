"""Put the answers of published studies into the README and the pages of docs/, from their trials.

Usage: python tools/update_readme.py                          every page, from report/*/trials and
docs/results
       python tools/update_readme.py runs/cifar10-quick       keeps that run's evidence in docs/results, then
       every page
Everything between such marks is replaced; nothing there is written by hand.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart import store
from headstart.report import words
from headstart.report.chapters import opening
from headstart.report.document import Figure, Paragraph, Section, Table
from headstart.report.load import StudyView, load_study
from headstart.report.sections.choice import compared
from headstart.report.sections.learning import learning
from headstart.report.writers.markdown import without_links
from headstart.results import headline, published, stats
from headstart.results.table import write_results_csv

ROOT = Path(__file__).parents[1]
QUICK = ROOT / "docs" / "results" / "cifar10-quick"
FULL = ROOT / "report" / "trials"
FIGURE = ROOT / "report" / "figures" / "fig-answer-labels.png"
PICTURE = ROOT / "docs" / "pictures" / "answer.png"  # the same: what docs/ shows lies in docs/
ALL_IMAGES = ROOT / "report" / "cnn" / "trials"
GPU = ROOT / "benchmarks" / "results" / "gpu.json"
_PEER_VIEWS = "translate_accuracy"  # airbench's own reading: six views of an image
# What was aimed at: accuracy and, for the CNN, operations (cifar10-airbench's 94 %, and a quarter of them).
_AIMS = {
    "cnn": (0.94, 0.36e15),
    "cnn-fast": (0.91, 0.09e15),
    "probe": (0.90, None),
    "probe-128": (0.90, None),
    "probe-224": (0.92, None),
    "finetune": (0.93, None),
    "finetune-224": (0.97, None),
}
_N_SAYS = (
    "n counts seeds; with one, the interval is Wilson's, over test images, and says nothing of another seed."
)


def main(arguments: Sequence[str]) -> None:
    for folder in arguments:
        _keep(Path(folder))
    store.write_bytes(PICTURE, FIGURE.read_bytes())
    for part in PARTS:
        store.write_bytes(part.page, with_part(part.page.read_text(), part).encode())


@dataclass(frozen=True)
class Part:
    """Text between two marks of a page, made from the trials in a folder."""

    page: Path
    mark: str
    folder: Path
    write: Callable[[StudyView], str]


def _keep(folder: Path) -> Path:
    """Write a study's evidence into docs/results/<study>, and return that folder."""
    view = load_study(folder)
    home = ROOT / "docs" / "results" / view.study.name
    home.mkdir(parents=True, exist_ok=True)
    if folder.resolve() != home.resolve():
        published.publish(
            folder, home
        )  # summaries and test logits: the notebooks read them where the run itself is not there
    write_results_csv(home)
    trials = store.finished_trials(folder)
    store.write_json(
        home / "environment.json", {result.arm.name: dict(result.environment) for result in trials}
    )
    # Alone in a page the figure follows nobody's colours: a white ground keeps it readable in dark themes.
    svg = re.sub(
        r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', _learning(view).svg, count=1
    )
    store.write_bytes(home / "learning.svg", svg.encode())
    return home


def _learning(view: StudyView) -> Figure:
    return {drawn.name: drawn for drawn in learning(view)}["fig-curves-seconds"]


def with_part(text: str, part: Part) -> str:
    """The page's text with this part of it written from its trials."""
    return _between(text, part.mark, part.write(_load(part.folder)))


_load = functools.cache(load_study)


def _between(before: str, mark: str, text: str) -> str:
    """`before` with `text` between its marks of that name."""
    begin, end = re.search(rf"<!-- {mark}:.*?-->\n", before), before.index(f"<!-- /{mark} -->")
    assert begin is not None
    return before[: begin.end()] + text + before[end:]


def _answer(view: StudyView) -> str:
    """The published answer for a reader with one minute: a sentence, a figure, the ladder, the claims."""
    return _in_brief(view, FIGURE.relative_to(ROOT).as_posix())


def _home(view: StudyView) -> str:
    """The same for the documentation's first page, whose pictures lie in docs/."""
    return _in_brief(view, PICTURE.relative_to(ROOT / "docs").as_posix())


def _in_brief(view: StudyView, picture: str) -> str:
    return "\n".join([*_headline(view, picture), *_ladder(view), "", *_claims(view), ""])


def _headline(view: StudyView, picture: str) -> list[str]:
    answer = headline.headline(view.study, [item for arm in view.arms for item in arm.trials])
    arms = words.listing([arm.label for arm in compared(view)])
    return [f"**{answer}**", "", f"![Test accuracy by labels per class: {arms}]({picture})", ""]


def _ladder(view: StudyView) -> list[str]:
    """Test accuracy at a few label budgets, with intervals and n."""
    section = opening.ladder(view)
    assert section is not None
    return [*_as_markdown(section)]


def _claims(view: StudyView) -> list[str]:
    """What was claimed before the study ran, with the verdicts."""
    section = opening.verdicts(view)
    assert section is not None
    return [*_as_markdown(section)]


def _choices(view: StudyView) -> str:
    """Which arm to choose, by labels per class and by work."""
    return "\n".join([*_as_markdown(opening.choose(view)), ""])


def _as_markdown(section: Section) -> list[str]:
    """A section's tables and notes as Markdown, without its heading and without links into the report."""
    lines: list[str] = []
    for block in section.blocks:
        if isinstance(block, Table | Paragraph):
            lines += [*([""] if lines else []), without_links(block)]
    return lines


def _all_images(view: StudyView) -> str:
    """Networks trained on all training images, and the CNN beside airbench's own script on one GPU."""
    lines = _table(view, ("test_flip_accuracy",), ("flops",))
    measured = json.loads(GPU.read_text())
    device, (peer, *ours) = measured["environment"]["device"], measured["airbench"]["rows"]
    durations = words.listing(
        [
            f"{row['name']} takes {row['seconds']['median']:.1f} s of training "
            f"({row['seconds_over_airbench']:.1f} "
            f"times airbench's) and {row['pflop']:.2f} PFLOP"
            for row in ours
        ]
    )
    lines += [
        "",
        f"{_N_SAYS} Measured on {_machines(view)}; `report/cnn`. "
        f"On one {device}, seed by seed in turn with cifar10-airbench's own script (airbench94: median of "
        f"{peer['seconds']['n']} {peer['seconds']['median']:.1f} s, {100 * peer['accuracy']['mean']:.2f} % "
        "on one view, "
        f"{100 * peer[_PEER_VIEWS]['mean']:.2f} % over its six), {durations}: `benchmarks/results/gpu.json`."
        "",
        "",
        f"What was aimed at, over both flips, and with cifar10-airbench's work: {_against_aims(view)}.",
        "",
    ]
    return "\n".join(lines)


def _against_aims(view: StudyView, metric: str = "test_flip_accuracy", without: Sequence[str] = ()) -> str:
    parts = []
    for row in headline.comparison_table(view.trials).to_dict("records"):
        if row["arm"] not in _AIMS or row["arm"] in without:
            continue
        aim, work = _AIMS[row["arm"]]
        accuracy = row[metric]
        limits = [row[f"{metric}_{end}"] for end in ("low", "high")]
        interval = f", {words.share(limits[0], 2)} to {words.share(limits[1], 2)}" if row["n"] > 1 else ""
        text = (
            f"{row['label']} {words.share(aim)} "
            f"({_reached(accuracy >= aim)}: {words.share(accuracy, 2)}{interval})"
        )
        if work is not None:
            text += f" in {words.flops(work)} ({_reached(row['flops'] <= work)}: {words.flops(row['flops'])})"
        parts.append(text)
    return "; ".join(parts)


def _reached(is_so: bool) -> str:
    return "reached" if is_so else "missed"


def _two_cores(view: StudyView) -> str:
    """What a stated time on a processor buys each way."""
    cnn, full = (
        next(result.cost for result in store.finished_trials(trials) if result.arm.name == "cnn")
        for trials in (view.folder, ALL_IMAGES)
    )
    seconds = full.examples * cnn.seconds["train"] / cnn.examples
    lines = _table(view, ("test_flip_accuracy",), ("seconds", "flops"))
    aims = _against_aims(view, "test_accuracy", without=["cnn"])
    lines += [
        "",
        f"{_measured(view, 'cpu', ' (in int8)')} At the CNN's rate there, the full recipe ({full.examples:,} "
        "images "
        f"passed) would take {words.duration(seconds)}.",
        "",
        f"{_leads(view, 'finetune', ('probe-128', 'probe-224'))} What was aimed at, on one view: {aims}.",
        "",
    ]
    return "\n".join(lines)


def _leads(view: StudyView, name: str, others: Sequence[str]) -> str:
    """By how much one network has more test images right than others, image by image: of these networks, not
    of their methods."""
    right = {arm.name: arm.tests[0].logits.argmax(axis=1) == arm.tests[0].labels for arm in view.arms}
    leads = []
    for other in others:
        difference = stats.paired_difference(right[name], right[other])
        assert difference.interval is not None
        leads.append(
            f"{view.styles[other].label} by {words.points(difference.effect)} "
            f"({words.interval(difference.interval, signed=True)})"
        )
    return (
        f"Image by image {view.styles[name].label} leads {words.listing(leads)}: 95 % intervals over the "
        "test "
        "images, of "
        "these networks alone."
    )


def _same_work(view: StudyView) -> str:
    """What the same operations, and the same seconds of a GPU, buy each way."""
    return "\n".join(
        [*_table(view, ("test_flip_accuracy",), ("seconds", "flops")), "", _measured(view, "equal"), ""]
    )


def _large(view: StudyView) -> str:
    """What 224 pixels buy, a new head alone and all layers."""
    aims = f"What was aimed at, on one view: {_against_aims(view, 'test_accuracy')}."
    lines = _table(view, ("test_flip_accuracy",), ("seconds", "flops"))
    return "\n".join([*lines, "", f"{_measured(view, 'gpu')} {aims}", ""])


def _measured(view: StudyView, part: str, features: str = "") -> str:
    """What n and times say, on which machine, and where the report is."""
    return (
        f"{_N_SAYS} Wall time is cold and whole: features{features}, training, choosing, reading. Measured "
        "on "
        f"{_machines(view)}; `report/{part}`."
    )


def _machines(view: StudyView) -> str:
    return words.listing(words.machines([result for result in view.trials]))


_TITLES = {
    "test_flip_accuracy": "both flips",
    "val_accuracy": "validation",
    "train_accuracy": "train",
    "test_nll": "NLL",
    "test_nll_calibrated": "NLL, scaled",
    "test_ece": "ECE",
    "test_ece_calibrated": "ECE, scaled",
    "seconds": "wall time",
    "flops": "compute",
}
_WRITTEN = {
    "test_nll": words.number,
    "test_nll_calibrated": words.number,
    "test_ece": words.number,
    "test_ece_calibrated": words.number,
    "seconds": words.duration,
    "flops": words.flops,
}


def _table(view: StudyView, accuracies: Sequence[str], others: Sequence[str]) -> list[str]:
    """A row an arm: test accuracy with its interval, then these columns of headline.comparison_table, and
    n."""
    columns = ["test accuracy", "95 % interval", *(_TITLES[name] for name in (*accuracies, *others)), "n"]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in headline.comparison_table(view.trials).to_dict("records"):
        kind = "wilson" if row["n"] == 1 else "test_accuracy"
        interval = " to ".join(words.share(row[f"{kind}_{end}"], 1) for end in ("low", "high"))
        cells = [
            words.share(row["test_accuracy"], 2),
            interval,
            *(words.share(row[name], 2) for name in accuracies),
            *(_WRITTEN[name](row[name]) for name in others),
            str(row["n"]),
        ]
        lines.append(f"| {row['label']} | " + " | ".join(cells) + " |")
    return lines


def _section(view: StudyView) -> str:
    place, figure, trials = (
        view.folder.resolve().relative_to(ROOT),
        _learning(view),
        store.finished_trials(view.folder),
    )
    lines = [
        f"**{headline.headline(view.study, trials)}**",
        "",
        f"![{figure.message}](../results/{view.study.name}/learning.svg)",
        "",
        f"*{figure.message}. {figure.caption}*",
        "",
        *_table(
            view,
            ("test_flip_accuracy", "val_accuracy", "train_accuracy"),
            ("test_nll", "test_nll_calibrated", "test_ece", "test_ece_calibrated", "seconds", "flops"),
        ),
    ]
    environment = trials[0].environment
    lines += [
        "",
        f"Measured by `{view.study.command}` on {environment['processor']}, {environment['cores']} cores, "
        f"{environment['precision']}, torch {environment['torch']}; the study file, a row for each trial and "
        "the "
        f"environment stand in `{place}`. {_N_SAYS} Wall time is cold: features included.",
        "",
    ]
    return "\n".join(lines)


_QUESTIONS = ROOT / "docs" / "questions"
_CPU, _EQUAL, _GPU = (ROOT / "report" / part / "trials" for part in ("cpu", "equal", "gpu"))
PARTS = (
    Part(ROOT / "README.md", "answer", FULL, _answer),
    Part(ROOT / "docs" / "index.md", "answer", FULL, _home),
    Part(_QUESTIONS / "which-should-i-choose.md", "choices", FULL, _choices),
    Part(_QUESTIONS / "how-accurate-with-all-images.md", "all images", ALL_IMAGES, _all_images),
    Part(_QUESTIONS / "what-do-two-cores-buy.md", "two cores", _CPU, _two_cores),
    Part(_QUESTIONS / "who-wins-at-equal-work.md", "same work", _EQUAL, _same_work),
    Part(_QUESTIONS / "what-does-224-px-bring.md", "224 pixels", _GPU, _large),
    Part(_QUESTIONS / "what-does-the-quick-study-show.md", "results", QUICK, _section),
)


if __name__ == "__main__":
    main(sys.argv[1:])
