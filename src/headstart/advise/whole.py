"""Many images: the candidate that a sample has chosen learns from all of them, where the time is enough."""

from __future__ import annotations

from headstart.advise.candidates import Candidate
from headstart.advise.images import UserImages
from headstart.advise.ladder import Ladder
from headstart.errors import HeadstartError
from headstart.runtime import progress
from headstart.runtime.memory import free_memory_bytes

_REST_SECONDS = 15.0  # kept for the model and the page
# Of an image beside its decoding: its file compared, near duplicates searched, the division made, all hashed;
# most of the 1.7 ms that `data check` takes for one of 10,000 (docs/questions/how-many-machines.md).
_PREPARE_SECONDS = 0.0012
_MEMORY_SHARE = 0.5  # of the free memory: for the images of a network that trains


def learn_from_all(ladder: Ladder, chosen: Candidate) -> Ladder | None:
    """A ladder over all images whose one result is the chosen candidate's; None where it was passed over.

    Its run folder lies in ladder.folder/whole. Which images are held out is drawn among all of them: by their
    content, as in the sample."""
    storage = ladder.images.storage
    assert storage is not None
    rung = ladder.plan[chosen.name]
    what = f"the final model from all {storage.images:,} images"
    if not rung.is_frozen and not _fits_memory(storage.images * 3 * storage.side**2):
        ladder.pass_over(f"{what}: a network that trains holds them in memory, and they are more than fit")
        return None
    features = 1.2 * storage.images * ladder.seconds_per_image(rung.pixels) if rung.is_frozen else 0.0
    trained = 0.0 if rung.is_frozen else ladder.results[chosen.name].cost.total_seconds
    needed = storage.seconds + _PREPARE_SECONDS * storage.images + features + trained
    if needed > ladder.time.left() - _REST_SECONDS and not (ladder.folder / "whole" / "plan.json").exists():
        ladder.pass_over(
            f"{what}: it needs about {progress.clock(needed)}, and {ladder.clock_left()} were left; the "
            "model learned from the sample. With more --minutes the same command goes on"
        )
        return None
    progress.say(f"now: {what}, about {progress.clock(needed)}")
    spent = ladder.time.spent_before
    try:
        images = ladder.images.whole(ladder.folder)
        whole = Ladder(images, ladder.folder / "whole", time=ladder.time, balance=ladder.balance)
        ladder.time.spent_before = spent  # the clock is the sample's
        whole.plan[rung.name] = rung
        whole.attempt(rung)
    except KeyboardInterrupt:
        ladder.interrupted = True
        progress.say("interrupted: answering with what the sample gave")
        return None
    except HeadstartError as error:
        ladder.pass_over(f"{what}: {error}")
        return None
    return whole


def sample_in_words(images: UserImages, whole: UserImages | None) -> str:
    """Which images were compared on and learned from, in a sentence; empty where there is no sample.

    whole: those that the model learned from; None: the sample."""
    if images.storage is None:
        return ""
    dataset = images.dataset
    count = len(dataset.train) + len(dataset.test)
    text = (
        f"Candidates were compared on a sample of {count:,} of {images.storage.images:,} images, the same "
        "number of each class where it has them (seed 0)"
    )
    if whole is None:
        return f"{text}; the model learned from it alone, and accuracy weighs classes as the sample does."
    held = "your test split" if whole.own_test else f"{len(whole.dataset.test):,} held-out ones"
    return f"{text}; the model learned from all but {held}, and accuracy is that on all of these."


def _fits_memory(needed_bytes: int) -> bool:
    free = free_memory_bytes()
    return free is None or needed_bytes <= _MEMORY_SHARE * free
