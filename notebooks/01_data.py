# %% [markdown]
# # 1. The data
#
# CIFAR-10 is 60,000 photographs of 32 × 32 pixels in ten classes. Before anything is trained on them it pays to look: at the
# pictures, at how they are divided, and at the copies among them.
#
# Every cell calls the package. With `HEADSTART_FAST=1` the notebook works on a slice of the data.

# %%
import os

import numpy as np
import pandas as pd

import headstart
from headstart import plots

FAST = os.environ.get("HEADSTART_FAST") == "1"

dataset = headstart.load_dataset("cifar10")
train, test = dataset.train, dataset.test
print(dataset.title, "-", dataset.source)
print(f"{len(train):,} training and {len(test):,} test images, uint8 {train.images.shape[1:]}")

# %% [markdown]
# ## What the pictures look like
#
# The first eight training images of each class. At this size a cat and a dog can be hard to tell apart for a person too; keep
# that in mind when the confusion matrices come.

# %%
first = [place for label in range(10) for place in np.flatnonzero(train.labels == label)[:8]]
headstart.show(plots.image_grid(train.images[first], row_titles=train.class_names), "Eight training images of each class")

# %% [markdown]
# The mean picture of a class shows what a classifier could learn from colour and place alone: blue grounds for airplanes and
# ships, a dark horse in the middle. It is not much, which is why this is a task for a network.

# %%
few = 2_000 if FAST else len(train)
means = [train.images[:few][train.labels[:few] == label].mean(axis=0).astype(np.uint8) for label in range(10)]
headstart.show(plots.image_grid(means, train.class_names, columns=10), "The mean training image of each class")

# %% [markdown]
# ## How they are divided
#
# The test images are read once, at the end of a trial. Every choice - when to stop, how strong a penalty, which recipe - is made
# on 5,000 validation images that are taken from the training images, the same number from each class. The split depends on the
# data alone, so every method and every seed sees the same one.

# %%
from headstart.data.splits import label_subset, validation_split

train_ids, val_ids = validation_split(train.labels, train.fingerprint)
parts = {"training": train.labels[train_ids], "validation": train.labels[val_ids], "test": test.labels}
counts = {name: np.bincount(labels, minlength=10).tolist() for name, labels in parts.items()}
headstart.show(plots.class_counts(train.class_names, counts, "Images"), "Every class has equally many images in every part")

# %% [markdown]
# Label budgets ask how each method does with fewer labels. Budgets of one seed *nest*: the 10 labels a class are among the 50.
# So when accuracy rises from one budget to the next, more labels are the reason, and not luckier ones.

# %%
budgets = [1, 5, 10, 50, 500]
subsets = [label_subset(train.labels, train_ids, train.fingerprint, 0, budget) for budget in budgets]
pd.DataFrame({
    "labels a class": budgets,
    "images": [len(subset) for subset in subsets],
    "holds the smaller budget": [True, *(np.isin(a, b).all() for a, b in zip(subsets, subsets[1:]))],
    "touches validation": [np.isin(subset, val_ids).any() for subset in subsets],
})

# %% [markdown]
# ## What goes into a network
#
# Pixels are brought to mean 0 and deviation 1, channel by channel. The constants belong to the model's preprocessing and travel
# with its weights; here they are next to what these training images say.

# %%
from headstart.models.cnn import CNN_PREPROCESSING

pixels = train.images[:few].reshape(-1, 3)
pd.DataFrame({
    "mean, measured": pixels.mean(axis=0) / 255, "mean, used": CNN_PREPROCESSING.mean,
    "deviation, measured": pixels.std(axis=0, dtype=np.float64) / 255, "deviation, used": CNN_PREPROCESSING.std,
}, index=["red", "green", "blue"]).round(4)

# %% [markdown]
# ## Copies
#
# A picture that is in the training set and, saved again, in the test set makes a test easier than it looks. A perceptual hash
# proposes pairs, and a comparison in colour confirms them.

# %%
from headstart.data.duplicates import near_duplicates

searched_train, searched_test = (2_000, 1_000) if FAST else (len(train), len(test))
searched = np.concatenate([train.images[:searched_train], test.images[:searched_test]])
pairs = near_duplicates(searched)
across = pairs[(pairs[:, 0] < searched_train) & (pairs[:, 1] >= searched_train)]
print(f"{len(searched):,} images searched: {len(pairs):,} pairs of near duplicates, {len(across):,} of them across training and test")
print(f"{len(np.unique(across[:, 1])):,} test images have a near duplicate among the training images")

# %%
shown = across[np.linspace(0, len(across) - 1, 8).astype(int)] if len(across) else pairs[:8]
names = [train.class_names[label] for label in (*train.labels[:searched_train], *test.labels[:searched_test])]
both = shown.T.reshape(-1)
grid = plots.image_grid(searched[both], [names[place] for place in both], columns=max(len(shown), 1)) if len(shown) else None
headstart.show(grid, "Near duplicates: a training image above, its copy below") if grid else "none in this slice"

# %% [markdown]
# They are known to anybody who has looked at CIFAR-10 closely, and they are left where they are: published accuracies count
# them too, and every method here meets the same ones. The comparison stays fair; the absolute numbers are a little flattered.
# On your own images copies are kept on one side of every split (see [05_your_own_images](05_your_own_images.ipynb)).
#
# Next: [02_cnn_from_scratch](02_cnn_from_scratch.ipynb).
