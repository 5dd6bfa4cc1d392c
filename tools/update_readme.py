"""Put a study's answer, table and figures into README.md, and its evidence into docs/results/<study>.

Usage: python tools/update_readme.py runs/cifar10-quick    the README's `results`
       python tools/update_readme.py docs/results/cifar10-quick    the same, from what is kept there
       python tools/update_readme.py report/trials         its `full study`, from the report beside these
       trials python tools/update_readme.py report/cnn/trials     its `all images`, from that report and
       benchmarks/results/gpu.json python tools/update_readme.py report/cpu/trials     its `two cores`, from
       that report python tools/update_readme.py report/equal/trials   its `same work`, from that report
       python tools/update_readme.py report/gpu/trials     its `224 pixels`, from that report
Everything between such marks is replaced; nothing there is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from headstart import store
from headstart.report import words
from headstart.report.load import StudyView, load_study
from headstart.report.sections import labels, tables
from headstart.report.sections.figure import Figure
from headstart.report.sections.learning import learning
from headstart.results import headline, published, stats
from headstart.results.table import write_results_csv

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
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


def main(folder: Path) -> None:
    if folder.resolve() not in SECTIONS:
        folder = _keep(folder)
    store.write_bytes(README, with_section(README.read_text(), folder).encode())


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


def with_section(text: str, folder: Path) -> str:
    """The README's text with the section of the trials in this folder: of a published report, or of a study
    that `_keep` wrote."""
    mark, write = SECTIONS.get(folder.resolve(), ("results", _section))
    return _between(text, mark, write(load_study(folder)))


def _between(before: str, mark: str, text: str) -> str:
    """`before` with `text` between its marks of that name."""
    begin, end = re.search(rf"<!-- {mark}:.*?-->\n", before), before.index(f"<!-- /{mark} -->")
    assert begin is not None
    return before[: begin.end()] + text + before[end:]


def _full_study(view: StudyView) -> str:
    """The published report in short: how much has run, its answer, its figure over label budgets, accuracies
    by budget."""
    drawn = labels.figure(view, labels.fit_all(view))
    assert drawn is not None
    lines = [
        f"**{headline.headline(view.study, [item for arm in view.arms for item in arm.trials])}**",
        "",
        f"![{drawn.message}](report/figures/fig-labels.png)",
        "",
        f"*{drawn.message}. {drawn.caption}*",
        "",
        f"| labels a class | {' | '.join(arm.label for arm in view.arms)} |",
        "|---|" + "---|" * len(view.arms),
    ]
    for row in tables.budgets(view):
        cells = [f"{cell.text} ({cell.note})" if cell.note else cell.text for cell in row.cells]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    lines += [
        "",
        "Test accuracy, with 95 % intervals: over seeds, or over test images where every seed gives the same "
        "model. "
        f"{view.finished} of the study's {view.planned} trials have finished, on {_machines(view)}. All of "
        "it, with costs, "
        "calibration, mistakes and the claims: [report](report/README.md), [as PDF](report/report.pdf).",
        "",
    ]
    return "\n".join(lines)


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
        f"{_N_SAYS} Measured on {_machines(view)}; [report](report/cnn/README.md). "
        f"On one {device}, seed by seed in turn with cifar10-airbench's own script (airbench94: median of "
        f"{peer['seconds']['n']} {peer['seconds']['median']:.1f} s, {100 * peer['accuracy']['mean']:.2f} % "
        "on one view, "
        f"{100 * peer[_PEER_VIEWS]['mean']:.2f} % over its six), {durations}: [benchmarks/results/gpu.json]"
        "(benchmarks/results/gpu.json).",
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
        f"{_machines(view)}; [report](report/{part}/README.md)."
    )


def _machines(view: StudyView) -> str:
    return words.listing(words.machines([result for result in view.trials]))


_TITLES = {
    "test_flip_accuracy": "both flips",
    "val_accuracy": "validation",
    "train_accuracy": "train",
    "test_nll": "NLL",
    "test_ece": "ECE",
    "seconds": "wall time",
    "flops": "compute",
}
_WRITTEN = {
    "test_nll": words.number,
    "test_ece": words.number,
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
        f"![{figure.message}]({place}/learning.svg)",
        "",
        f"*{figure.message}. {figure.caption}*",
        "",
        *_table(
            view,
            ("test_flip_accuracy", "val_accuracy", "train_accuracy"),
            ("test_nll", "test_ece", "seconds", "flops"),
        ),
    ]
    environment = trials[0].environment
    lines += [
        "",
        f"Measured by `{view.study.command}` on {environment['processor']}, {environment['cores']} cores, "
        f"{environment['precision']}, torch {environment['torch']}; the study file, a row for each trial and "
        "the "
        f"environment stand in [{place}]({place}). {_N_SAYS} Wall time is cold: features included.",
        "",
    ]
    return "\n".join(lines)


# What each report's trials write, and between which marks.
SECTIONS = {
    ROOT / "report" / part / "trials": (mark, write)
    for part, mark, write in (
        ("", "full study", _full_study),
        ("cnn", "all images", _all_images),
        ("cpu", "two cores", _two_cores),
        ("equal", "same work", _same_work),
        ("gpu", "224 pixels", _large),
    )
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
