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
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from two_data_sets import side_by_side

from headstart import store
from headstart.report import words
from headstart.report.chapters import opening
from headstart.report.document import Figure, Paragraph, Section, Table
from headstart.report.load import StudyView, load_study
from headstart.report.sections.choice import compared, estimated_minutes
from headstart.report.sections.learning import learning
from headstart.report.writers.markdown import without_links
from headstart.results import full_study, headline, published, stats
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
_WORDS = (
    "<sub>Linear probe: a new last layer on a frozen pretrained network. kNN: the nearest training images "
    "vote. LP-FT: the probe first, then all layers. n: seeds, each a repetition with other labels and other "
    "random numbers. PFLOP: 10<sup>15</sup> operations, counted.</sub>"
)
_N_SAYS = (
    "n counts seeds; with one, the interval is Wilson's, over test images, and says nothing of another seed."
)


def main(arguments: Sequence[str]) -> None:
    for folder in arguments:
        _keep(Path(folder))
    store.write_bytes(PICTURE, FIGURE.read_bytes())
    store.write_json(full_study.FILE, full_answers())
    for part in PARTS:
        store.write_bytes(part.page, with_part(part.page.read_text(), part).encode())


def full_answers() -> dict[str, dict[str, Any]]:
    """What stands beside quick studies: the published answers of the full ones."""
    view = _load(FULL)
    sentence = headline.headline(view.study, [item for arm in view.arms for item in arm.trials])
    trials = [trial for arm in view.arms for trial in arm.trials]
    return {view.study.name: full_study.published_answer(sentence, trials)}


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
    trust = "[in the report](report/README.md#can-i-trust-it)"
    return _in_brief(view, FIGURE.relative_to(ROOT).as_posix(), trust, "docs/")


def _home(view: StudyView) -> str:
    """The same for the documentation's first page, whose pictures lie in docs/."""
    return _in_brief(view, PICTURE.relative_to(ROOT / "docs").as_posix(), "in `report/README.md`", "")


def _in_brief(view: StudyView, picture: str, trust: str, docs: str) -> str:
    return "\n".join([*_headline(view, picture, trust, docs), *_ladder(view), "", *_claims(view), ""])


def _headline(view: StudyView, picture: str, trust: str, docs: str) -> list[str]:
    """docs: the folder of the documentation, seen from the page."""
    answer = headline.headline(view.study, [item for arm in view.arms for item in arm.trials])
    arms = words.listing([f'"{arm.label}"' for arm in compared(view)])
    return [
        f"**{answer}**",
        "",
        f"{_with_few_labels(view)} {_in_minutes(view)} "
        f"([which should I choose?]({docs}questions/which-should-i-choose.md)). Can I trust it? Recipes were "
        "chosen on validation images, test images read once a trial; intervals, exceptions and threats stand "
        f"{trust}. For images of your own: `make install`, `. .venv/bin/activate`, "
        "`headstart advise photos --minutes 10`.",
        "",
        f"![Test accuracy by labels per class: {arms}]({picture})",
        "",
        _WORDS,
        "",
    ]


def _in_minutes(view: StudyView) -> str:
    """What the two networks of the headline take on a core of the study's processor."""
    pair = headline.headline_pair(view.study, [item for arm in view.arms for item in arm.trials])
    minutes = {arm.label: estimated_minutes(view, arm) for arm in view.arms if arm.name in pair}
    taken = [f"{label} about {words.duration(60 * each)}" for label, each in minutes.items() if each]
    return f"Estimated for one core of the study's processor: {words.listing(taken)}"


def _with_few_labels(view: StudyView, labels: int = 10) -> str:
    """The best arm of either kind of start where labels are few."""
    means: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for arm in view.arms:
        accuracies = [
            trial.metrics["test_accuracy"]
            for trial in view.trials
            if trial.arm.name == arm.name and trial.label_budget.per_class == labels
        ]
        if accuracies:
            means[arm.first.arm.is_pretrained][arm.label] = statistics.fmean(accuracies)
    best = {kind: max(of.items(), key=lambda item: item[1]) for kind, of in means.items()}
    (first, accuracy), (second, other) = best[True], best[False]
    return (
        f"With {labels} labels per class the best from pretrained weights reaches {words.share(accuracy)} "
        f"({first}), the best from random weights {words.share(other)} ({second})."
    )


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
    runs = measured["airbench"]["runs"]
    durations = words.listing([_beside_airbench(row, peer, runs) for row in ours])
    lines += [
        "",
        f"{_N_SAYS} Measured on {_machines(view)}; `report/cnn`. "
        f"On one {device}, seed by seed in turn with cifar10-airbench's own script (airbench94: median of "
        f"{peer['seconds']['n']} {peer['seconds']['median']:.1f} s, {100 * peer['accuracy']['mean']:.2f} % "
        "on one view, "
        f"{100 * peer[_PEER_VIEWS]['mean']:.2f} % over its six), {durations}: `benchmarks/results/gpu.json`. "
        "airbench's seconds hold building the network and whitening; a trial's seconds of training leave "
        "them out, so they are added here.",
        "",
        f"What was aimed at, and with cifar10-airbench's work: {_against_aims(view)}.",
        "",
    ]
    return "\n".join(lines)


def _beside_airbench(row: dict[str, Any], peer: dict[str, Any], runs: Sequence[dict[str, Any]]) -> str:
    """What one of our recipes takes beside airbench's own script, over the same work: training with what
    prepares it."""
    whole = [run["seconds"] + run["prepare_seconds"] for run in runs if run["name"] == row["name"]]
    seconds = statistics.median(whole)
    return (
        f"{row['name']} takes {seconds:.1f} s ({seconds / peer['seconds']['median']:.1f} times airbench's; "
        f"{row['seconds']['median']:.1f} s of it training) and {row['pflop']:.2f} PFLOP"
    )


def _against_aims(view: StudyView, without: Sequence[str] = ()) -> str:
    """What was aimed at and whether it was reached, on one view of each test image and over both flips:
    "reached" or "missed" where the whole interval lies on that side of the aim."""
    parts = []
    for row in headline.comparison_table(view.trials).to_dict("records"):
        if row["arm"] not in _AIMS or row["arm"] in without:
            continue
        aim, work = _AIMS[row["arm"]]
        views = [
            f"{name} {_against(aim, row, metric, view.study.dataset.test_images)}"
            for metric, name in (("test_accuracy", "one view"), ("test_flip_accuracy", "both flips"))
        ]
        text = f"{row['label']} {words.share(aim)} ({'; '.join(views)})"
        if work is not None:
            is_so = "reached" if row["flops"] <= work else "missed"
            text += f" in {words.flops(work)} ({is_so}: {words.flops(row['flops'])})"
        parts.append(text)
    return "; ".join(parts)


def _against(aim: float, row: dict[str, Any], metric: str, test_images: int) -> str:
    """An accuracy with its interval, over seeds or, with one seed, Wilson's over test images, and on which
    side of the aim it lies."""
    accuracy = row[metric]
    if row["n"] > 1:
        low, high = (row[f"{metric}_{end}"] for end in ("low", "high"))
    else:
        low, high = stats.wilson_interval(round(accuracy * test_images), test_images)
    is_so = "reached" if low >= aim else "missed" if high < aim else "not decided"
    return f"{words.share(accuracy, 2)}, {words.share(low, 2)} to {words.share(high, 2)}: {is_so}"


def _two_cores(view: StudyView) -> str:
    """What a stated time on a processor buys each way."""
    cnn, full = (
        next(result.cost for result in store.finished_trials(trials) if result.arm.name == "cnn")
        for trials in (view.folder, ALL_IMAGES)
    )
    seconds = full.examples * cnn.seconds["train"] / cnn.examples
    lines = _table(view, ("test_flip_accuracy",), ("seconds", "flops"))
    aims = _against_aims(view, without=["cnn"])
    lines += [
        "",
        f"{_measured(view, 'cpu', ' (in int8)')} At the CNN's rate there, the full recipe ({full.examples:,} "
        "images "
        f"passed) would take {words.duration(seconds)}.",
        "",
        f"{_leads(view, 'finetune', ('probe-128', 'probe-224'))} What was aimed at: {aims}.",
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


def _far(view: StudyView) -> str:
    """Another data set beside the full study's."""
    return side_by_side(_load(FULL), view)


def _large(view: StudyView) -> str:
    """What 224 pixels buy, a new head alone and all layers."""
    aims = f"What was aimed at: {_against_aims(view)}."
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
        full_study.beside_the_full_study(view.study, trials),
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
_CPU, _EQUAL, _GPU, _FAR = (ROOT / "report" / part / "trials" for part in ("cpu", "equal", "gpu", "fashion"))
PARTS = (
    Part(ROOT / "README.md", "answer", FULL, _answer),
    Part(ROOT / "docs" / "index.md", "answer", FULL, _home),
    Part(_QUESTIONS / "which-should-i-choose.md", "choices", FULL, _choices),
    Part(_QUESTIONS / "how-accurate-with-all-images.md", "all images", ALL_IMAGES, _all_images),
    Part(_QUESTIONS / "what-do-two-cores-buy.md", "two cores", _CPU, _two_cores),
    Part(_QUESTIONS / "who-wins-at-equal-work.md", "same work", _EQUAL, _same_work),
    Part(_QUESTIONS / "what-does-224-px-bring.md", "224 pixels", _GPU, _large),
    Part(_QUESTIONS / "how-far-from-imagenet.md", "far", _FAR, _far),
    Part(_QUESTIONS / "what-does-the-quick-study-show.md", "results", QUICK, _section),
)


if __name__ == "__main__":
    main(sys.argv[1:])
