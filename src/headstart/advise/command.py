"""`headstart advise` from start to finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart import store
from headstart.advise.advice import Advice
from headstart.advise.events import Answered, Observer, Started, event_log, ignore
from headstart.advise.images import UserImages, prepare_images
from headstart.advise.search import BACKBONES, Backbone, Search
from headstart.advise.timekeeper import Timekeeper
from headstart.data.folders import DEFAULT_OPTIONS, BadFiles, SourceOptions
from headstart.data.folders.owner import claim, output_folder
from headstart.errors import ConfigError
from headstart.methods.frozen import sharing_backbones
from headstart.models import model_spec


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user wants of the answer.

    balance: each class weighs alike in training, and balanced accuracy chooses. hold_out: a fifth of the
    images is kept for testing and a tenth for choosing, and neither is in the model. backbones: the
    pretrained networks to try, (model, weights) each. cache_bytes: for decoded images; None: a share of
    what is free on the disk. observer: hears each event. began: time.monotonic() when the minutes began;
    None: now."""

    balance: bool = False
    hold_out: bool = False
    backbones: tuple[Backbone, ...] = BACKBONES
    cache_bytes: int | None = None
    observer: Observer = ignore
    began: float | None = None


def backbones_of(given: Sequence[str] | None) -> tuple[Backbone, ...]:
    """Pretrained networks written as MODEL or MODEL=WEIGHTS; none: the usual ones.

    Raises: ConfigError for a model that there is not."""
    pairs = [each.partition("=") for each in given or ()]
    for model, _, _ in pairs:
        model_spec(model)
    return tuple((model, weights or "default") for model, _, weights in pairs) or BACKBONES


def advise(
    path: str | Path,
    *,
    minutes: float = 10.0,
    out: Path | None = None,
    options: SourceOptions = DEFAULT_OPTIONS,
    bad_files: BadFiles = "few",
    wishes: Wishes = Wishes(),
) -> Advice:
    """The recommendation, written with everything it rests on into `out` (default: advice/<the folder's
    name>, see output_folder).

    There: events.jsonl (progress, as it is made), advice.html, advice.md, advice.json, check/check.html and
    model/ (for predict, explain, export), which needs no other file.
    Images up to some thousand are judged by cross-validation, of more a fifth is judged; the model is then
    fitted on all of them but the user's own test split. With wishes.hold_out a part is held out instead. Of
    very many a sample is compared on, and the model learns from all of them where the time is enough.
    minutes: for everything.
    Raises: ConfigError for minutes that are not positive; what check_images, load_images and run_trial raise.
    An interruption before the first candidate has ended is passed on; later the answer is what is known by
    then, marked `interrupted`."""
    if not 0 < minutes < 10_000:
        raise ConfigError(f"--minutes must be above 0, got {minutes:g}")
    source = Path(path).expanduser()
    folder = output_folder("advice", source, out)
    time = Timekeeper(minutes=minutes)
    if wishes.began is not None:
        time.started = wishes.began
    with store.lock(folder / "advise.lock", f"the folder {folder}"):
        claim(folder, source, "headstart advise")
        with event_log(folder, wishes.observer, time.started) as time.observe:
            with time.computing():
                images = prepare_images(
                    source,
                    folder,
                    options,
                    bad_files,
                    hold_out=wishes.hold_out,
                    cache_bytes=wishes.cache_bytes,
                )
            train, test = images.dataset.train, images.dataset.test
            left = time.minutes_left
            count = len(train) + len(test)
            time.observe(Started(minutes_left=left, images=count, classes=train.class_names, minutes=minutes))
            answer = _answer(images, folder, time, wishes)
            time.observe(
                Answered(
                    minutes_left=time.minutes_left,
                    sentence=answer.sentence(),
                    accuracy=answer.accuracy,
                    interval=answer.interval,
                    model=answer.model,
                    interrupted=answer.interrupted,
                )
            )
            return answer


def _answer(images: UserImages, folder: Path, time: Timekeeper, wishes: Wishes) -> Advice:
    if images.folds:
        search = Search(images, folder, time=time, balance=wishes.balance, backbones=wishes.backbones)
        with sharing_backbones():
            search.run()
            from headstart.advise.from_folds import answer_from_folds  # figures: after the first answer

            return answer_from_folds(search)
    from headstart.advise.ladder import Ladder

    ladder = Ladder(images, folder, time=time, balance=wishes.balance)
    ladder.run()
    from headstart.advise.from_trials import answer_from_trials

    return answer_from_trials(ladder)
