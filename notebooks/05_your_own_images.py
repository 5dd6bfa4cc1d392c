# %% [markdown]
# # 5. Your own images
#
# The same comparison on a folder of pictures: one sub-folder a class. Set `HEADSTART_IMAGES` to the path of yours; without it the
# notebook makes a small folder from CIFAR-10.

# %%
import os
from pathlib import Path

import numpy as np
import rich

import headstart
from headstart import plots

FAST = os.environ.get("HEADSTART_FAST") == "1"
OUT = Path("runs/05_your_own_images-fast" if FAST else "runs/05_your_own_images")

folder = Path(os.environ.get("HEADSTART_IMAGES", OUT / "pictures"))
if "HEADSTART_IMAGES" not in os.environ:
    train = headstart.load_dataset("cifar10").train
    headstart.write_image_folder(train, folder, classes=["cat", "dog", "ship"], per_class=20 if FAST else 50)
print({place.name: len(list(place.iterdir())) for place in sorted(folder.iterdir())})

# %% [markdown]
# ## Check before you train
#
# Files that cannot be read, copies of one picture in two classes, classes that are too small, labels that look wrong: better
# found now than in a report. On the command line this is `headstart data check FOLDER`, which writes a page to look at.

# %%
from headstart.data_quality.folder import check_images
from headstart.data_quality.page import terminal

check = check_images(folder, out=OUT / "check", label_errors=not FAST)
rich.print(terminal(check.inspection))

# %% [markdown]
# ## Load and look
#
# A fifth of each class is held out as the test set. Which images these are follows from the pixels alone, and copies never stand
# on both sides.

# %%
dataset = headstart.load_dataset(folder)
counts = {"training": np.bincount(dataset.train.labels).tolist(), "test": np.bincount(dataset.test.labels).tolist()}
headstart.show(plots.class_counts(dataset.train.class_names, counts, "Images"), "What there is to learn from")

# %%
rows = [place for label in range(len(counts["test"])) for place in np.flatnonzero(dataset.train.labels == label)[:8]]
headstart.show(plots.image_grid(dataset.train.images[rows], row_titles=dataset.train.class_names), "Training images")

# %% [markdown]
# ## The study
#
# Both sides, three seeds: with one there is no verdict, with two hardly ever. With so few pictures the CNN needs more passes over
# them than it would on CIFAR-10.

# %%
study = OUT / "mine.toml"
study.write_text(f"""
name = "mine"
title = "My pictures"
question = "For these pictures: a CNN from scratch, or a frozen ResNet-50 with a new head?"
dataset = "{folder.as_posix()}"
seeds = {[0, 1] if FAST else [0, 1, 2]}

[[arms]]
name = "cnn"
label = "CNN from scratch"
model = "cnn"
method = "scratch"
recipe = "cnn-fast"
recipe_changes = {{ duration = "{2 if FAST else 20} epochs", batch_size = 50 }}

[[arms]]
name = "probe"
label = "Frozen ResNet-50 + new head"
model = "resnet50"
weights = "imagenet-keras"
method = "linear_probe"
input_pixels = {32 if FAST else 96}

[[claims]]
sentence = "On these pictures the frozen ResNet-50 is more accurate than a CNN from scratch"
a = "probe"
b = "cnn"
metric = "test_accuracy"
""")
run = headstart.run_study(str(study), out=OUT / "mine")
headstart.load_summary(run)[["label", "n", "train_images", "train_accuracy", "test_accuracy", "test_accuracy_low",
                             "test_accuracy_high", "seconds"]].round(3)

# %%
headstart.load_figures(run)["accuracy"]

# %% [markdown]
# ## The answer
#
# The probe has one answer on all labels, whatever the seed, so it has one trial; it is paired with each seed of the CNN.

# %%
headstart.judge_claims(run)

# %%
headstart.compare(run, "probe", "cnn", ["test_nll", "seconds"])

# %%
gallery = headstart.load_gallery(run)
gallery.get("probe-not-cnn") or gallery.get("sure-cnn") or "no errors to show"

# %% [markdown]
# The folder `runs/.../mine` holds `results.csv`, a run folder for each trial and, after `headstart report FOLDER`, the whole report
# as one HTML file.
