# %% [markdown]
# # 2. A CNN from scratch
#
# The first side of the comparison: a small network, made for small images, that starts from random weights and learns from the
# labelled images alone.

# %%
import os
from pathlib import Path

import numpy as np

import headstart  # before torch: threads that wait then sleep
import torch
from headstart import plots
from headstart.models import MODELS, cnn, preprocess

FAST = os.environ.get("HEADSTART_FAST") == "1"
OUT = Path("runs/02_cnn_from_scratch-fast" if FAST else "runs/02_cnn_from_scratch")

dataset = headstart.load_dataset("cifar10")
train = dataset.train

# %% [markdown]
# ## The architecture
#
# Three blocks of two 3 × 3 convolutions, each followed by BatchNorm and ReLU; a pooling in each block; a global maximum; a linear
# layer. The layer table is part of the source.

# %%
print(cnn.__doc__)

# %%
model = headstart.load_model("cnn", seed=0)
spec = MODELS["cnn"]
print(f"{spec.parameters:,} parameters, {spec.flops / 1e6:,.0f} million floating-point operations an image (one pass forward)")
print(f"for comparison, ResNet-50: {MODELS['resnet50'].parameters:,} parameters")

# %% [markdown]
# ## The first layer
#
# Neighbouring pixels are nearly the same, so raw pixels tell a network the same thing over and over. The first layer takes that
# redundancy out: its filters are the principal directions of 2 × 2 patches, scaled so that each carries equally much. They are
# computed from training images, not learned, and the other half of the 24 is the same filters with the opposite sign.

# %%
images = train.images[:5_000]
model.fit_whitening(preprocess(images, model.preprocessing))
filters = model.whiten.weight.detach()[:12].permute(0, 2, 3, 1).numpy()
headstart.show(plots.image_grid(filters, [f"no. {i + 1}" for i in range(12)], columns=12),
               "Twelve first-layer filters of 2 × 2 pixels, from fine differences to plain colour")

# %% [markdown]
# What four of them say about one picture, after the ReLU: edges in one direction, edges in another, differences in colour,
# brightness.

# %%
horse = int(np.flatnonzero(train.labels == train.class_names.index("horse"))[0])
with torch.no_grad():
    responses = torch.relu(model.whiten(preprocess(train.images[horse : horse + 1], model.preprocessing)))[0]
maps = [np.repeat(responses[i].numpy()[..., None], 3, axis=-1) for i in (0, 3, 6, 9, 11)]
headstart.show(plots.image_grid([train.images[horse], *maps], ["the picture", *(f"filter {i}" for i in (1, 4, 7, 10, 12))], columns=6))

# %% [markdown]
# ## What an epoch sees
#
# Each time an image comes round it is shifted by up to two pixels and every other time mirrored. The network never sees quite
# the same picture twice, and which view it sees depends on the seed alone.

# %%
from headstart.data.batches import ImageBatches

few = torch.tensor(np.array(train.images[:8]))
batches = ImageBatches(few, torch.tensor(train.labels[:8]), batch_size=8, seed=0, flip="alternating", translate_pixels=2)
views = np.concatenate([next(batches.epoch(epoch))[0].numpy() for epoch in range(3)])
headstart.show(plots.image_grid(views, row_titles=[f"epoch {epoch}" for epoch in range(3)]), "The same eight images, three epochs")

# %% [markdown]
# ## Training one, to watch
#
# A study is a file: arms, seeds, label budgets. This one trains the CNN on a small folder of CIFAR-10 pictures, so that it takes
# a minute and not an hour.

# %%
pictures = headstart.write_image_folder(train, OUT / "pictures", per_class=20 if FAST else 60)
study = OUT / "small.toml"
study.write_text(f"""
name = "small"
title = "A CNN on a few pictures"
dataset = "{pictures.as_posix()}"

[[arms]]
name = "cnn"
label = "CNN from scratch"
model = "cnn"
method = "scratch"
recipe = "cnn-fast"
recipe_changes = {{ duration = "{2 if FAST else 10} epochs", batch_size = 50 }}
""")
folder = headstart.run_study(str(study), out=OUT / "small")
headstart.load_results(folder)[["arm", "train_images", "train_accuracy", "val_accuracy", "test_accuracy"]].round(3)

# %%
headstart.load_figures(folder)["curves-epochs"]

# %% [markdown]
# With so few pictures the training curve runs away from the validation curve: the network learns these images by heart. That
# distance is the generalization gap, and more labels are what closes it.
#
# ## The real run
#
# The same network on CIFAR-10 itself, from the finished study on disk. Nothing is trained here: a study's folder holds
# the history and the answer to every test image.

# %%
real = headstart.find_study("cifar10", "cifar10-quick")
summary = headstart.load_summary(real)
summary[summary["arm"] == "cnn"][["label", "labels_per_class", "n", "train_images", "train_accuracy", "val_accuracy", "test_accuracy",
                                  "seconds"]].round(4)

# %%
figures = headstart.load_figures(real)
figures["curves-epochs-random"]

# %% [markdown]
# Where it errs: cats and dogs above all, and cars and trucks.

# %%
figures["confusion-cnn"]

# %%
headstart.load_gallery(real)["sure-cnn"]

# %% [markdown]
# Next: what a network can do that has seen a million other pictures, [03_transfer_resnet](03_transfer_resnet.ipynb).
