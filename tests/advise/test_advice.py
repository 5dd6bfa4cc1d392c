"""The advice as a value: what its sentences say, and what they do not claim."""

from __future__ import annotations

import dataclasses

from headstart.advise.advice import Advice, Confusion
from headstart.advise.candidates import Candidate, ClassAccuracy
from headstart.results.label_curves import Estimate


def _try(name: str, val_accuracy: float, key: str = "", balanced: float = 0.5) -> Candidate:
    return Candidate(
        name=name,
        label=f"the {name}",
        family="scratch" if name == "cnn" else "pretrained",
        pixels=64,
        val_accuracy=val_accuracy,
        val_balanced_accuracy=balanced,
        seconds=90.0,
        key=key,
    )


ADVICE = Advice(
    chosen=_try("probe", 0.9),
    tries=(_try("probe", 0.9), _try("cnn", 0.7)),
    dropped=("a rung: no time was left",),
    accuracy=0.8,
    interval=(0.75, 0.85),
    balanced_accuracy=0.7,
    macro_f1=0.71,
    imbalance=1.0,
    classes=(
        ClassAccuracy(name="cat|dog", accuracy=0.5, interval=(0.2, 0.8), images=10),
        ClassAccuracy(name="cow", accuracy=1.0, interval=(0.8, 1.0), images=10),
    ),
    test_images=200,
    val_images=100,
    train_images=900,
    labels_per_class=90,
    doubling=Estimate(value=0.021, interval=(0.01, 0.03)),
    p_value=0.001,
    rivals_gap=0.2,
    seconds_per_image=0.0125,
    spent_seconds=200.0,
    minutes=10.0,
    fixes=("two copies - remove one",),
    model="out/my model",
    interrupted=False,
    balanced=False,
)


def test_the_answer_is_a_sentence_with_its_interval_and_ends_with_the_next_command() -> None:
    lines = ADVICE.lines()
    assert lines[0] == (
        "Use the probe (input 64 px): expect 80.0 % of new images right (75.0 % to 85.0 %, from 200 held-out "
        "images)."
    )
    assert lines[1] == (
        "Saying cat|dog to everything would be right for 50.0 % of these images: the model is better "
        "than guessing."
    )
    assert lines[2].startswith(
        "Sure of the way for these images: 20.0 points ahead of a network trained from scratch on the same"
    )
    assert lines[3].startswith("Twice the labels (from 90 a class) would bring about 2.1 points (1.0 to 3.0)")
    assert (
        "1 min 30 s on this machine, everything that was tried 3 min 20 s; in use 12 ms an image" in lines[4]
    )
    assert lines[5].startswith(
        "The saved model learned from 900 images; the 100 kept for choosing and the 200 held out are not"
    )
    assert "The CNN from scratch worked at 64 px and reached 70.0 %" in "\n".join(lines)
    assert lines[-1] == "Next: headstart predict 'out/my model' IMAGES"


def test_a_lead_that_chance_explains_is_not_called_sure() -> None:
    words = dataclasses.replace(ADVICE, p_value=0.25).confidence()
    assert words.startswith("Not sure of the way:") and "More images would tell" in words
    assert "nothing is said about the other way" in dataclasses.replace(ADVICE, p_value=None).confidence()


def test_what_is_no_better_than_guessing_is_said_beside_the_answer() -> None:
    low = dataclasses.replace(ADVICE, accuracy=0.52, interval=(0.45, 0.59))
    assert not low.beats_guessing and "cannot be told. Do not use it" in low.guessing()
    common, rare = (
        ClassAccuracy(name=name, accuracy=accuracy, interval=(0, 1), images=images)
        for name, accuracy, images in (("common", 1.0, 190), ("rare", 0.0, 10))
    )
    uneven = dataclasses.replace(
        ADVICE,
        classes=(common, rare),
        imbalance=19.0,
        accuracy=0.95,
        interval=(0.91, 0.97),
        balanced_accuracy=0.5,
    )
    assert not uneven.beats_guessing
    assert "Saying common to everything would be right for 95.0 %" in uneven.guessing()
    assert "averaged over classes for 50.0 %" in uneven.guessing()


def test_where_each_class_weighs_alike_the_answer_is_about_that() -> None:
    words = dataclasses.replace(ADVICE, balanced=True, balanced_accuracy=0.75).sentence()
    assert "expect 75.0 % of new images right averaged over classes" in words


def test_nothing_hard_is_named_and_nothing_more_is_asked_where_all_is_right() -> None:
    right = tuple(dataclasses.replace(each, accuracy=1.0) for each in ADVICE.classes)
    done = dataclasses.replace(
        ADVICE, accuracy=1.0, classes=right, p_value=0.5, chosen=_try("probe", 1.0), doubling=None
    )
    words = "\n".join(done.lines())
    assert "Hardest" not in words and "More images" not in words and "Label next" not in words
    assert "No held-out image was wrong" in done.labels()


def test_uneven_classes_show_balanced_accuracy_and_macro_f1() -> None:
    words = dataclasses.replace(ADVICE, imbalance=8.0).sentence()
    assert "averaged over classes it is 70.0 % (macro F1 0.71)" in words


def test_sure_says_which_test_it_rests_on_and_of_what() -> None:
    words = ADVICE.confidence()
    assert "McNemar's test, p 0.001; it compares these trained models on these images" in words
    assert "p below 0.001" in dataclasses.replace(ADVICE, p_value=1e-9).confidence()


def test_an_accuracy_from_folds_is_called_an_estimate_and_that_of_a_test_split_is_not() -> None:
    folds = dataclasses.replace(ADVICE, how="folds", refitted=True, train_images=200)
    assert (
        "fitted anew on all 200 images" in folds.learned() and "an estimate from held-out" in folds.learned()
    )
    assert "for lack of time" in dataclasses.replace(folds, refitted=False).learned()
    own = dataclasses.replace(ADVICE, how="own test")
    assert "none of them of your test split" in own.learned() and "estimate" not in own.learned()
    assert "from 200 images of your test split" in own.sentence()


def test_what_to_label_next_is_the_weakest_class_and_the_most_frequent_mistake() -> None:
    said = dataclasses.replace(ADVICE, confusions=(Confusion(given="cat|dog", said="cow", images=5),))
    assert said.next_labels() == (
        "Label next: more of cat|dog; the most frequent mistake is cat|dog taken for cow (5 of them)."
    )


def test_a_model_that_cannot_tell_strangers_says_so() -> None:
    assert "has no score for images of other things" in ADVICE.strangers()
    assert "4.2 % of held-out images" in dataclasses.replace(ADVICE, unfamiliar=0.042).strangers()
