"""`headstart advise` from start to finish."""

from __future__ import annotations

from pathlib import Path

from headstart import store
from headstart.advise.advice import Advice
from headstart.advise.answer import write_answer
from headstart.advise.events import Answered, Started, event_log
from headstart.advise.images import prepare_images
from headstart.advise.ladder import Ladder
from headstart.advise.timekeeper import Timekeeper
from headstart.data.folders import DEFAULT_OPTIONS, BadFiles, SourceOptions
from headstart.data.folders.owner import claim
from headstart.errors import ConfigError


def advise(
    path: str | Path,
    *,
    minutes: float = 10.0,
    out: Path | None = None,
    options: SourceOptions = DEFAULT_OPTIONS,
    bad_files: BadFiles = "few",
    balance: bool = False,
) -> Advice:
    """The recommendation, written with everything it rests on into `out` (default: advice/<the folder's
    name>).

    There: events.jsonl (progress, as it is made), advice.md, advice.json, the study's report.html,
    check/check.html, model/ (for predict, explain, export).
    minutes: for the candidates; the check and the report come on top where they take longer than the ladder
    leaves.
    balance: each class weighs alike in training, and balanced accuracy chooses.
    Raises: ConfigError for minutes that are not positive; what check_images, load_images and run_trial raise.
    An interruption before the first candidate has ended is passed on; later the answer is what is known by
    then, marked `interrupted`."""
    if not 0 < minutes < 10_000:
        raise ConfigError(f"--minutes must be above 0, got {minutes:g}")
    source = Path(path).expanduser()
    folder = Path("advice") / source.resolve().name if out is None else out
    time = Timekeeper(minutes=minutes)
    with store.lock(folder / "advise.lock", f"the folder {folder}"):
        claim(folder, source, "headstart advise")
        with event_log(folder) as time.observe:
            images = prepare_images(source, folder, options, bad_files)
            train, test = images.dataset.train, images.dataset.test
            time.observe(
                Started(
                    minutes_left=time.minutes_left,
                    images=len(train) + len(test),
                    classes=train.class_names,
                    minutes=minutes,
                )
            )
            ladder = Ladder(images, folder, time=time, balance=balance)
            ladder.run()
            found = write_answer(ladder)
            time.observe(
                Answered(
                    minutes_left=time.minutes_left,
                    sentence=found.sentence(),
                    accuracy=found.accuracy,
                    interval=found.interval,
                    model=found.model,
                    interrupted=found.interrupted,
                )
            )
            return found
