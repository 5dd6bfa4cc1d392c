# %% [markdown]
# # 2. How far does a CNN come from random weights?
#
# The first side of the comparison: a small network, made for small images, that learns from the labelled images alone.
#
# **Run time**: about two minutes on two cores. **You will know**: what the network is made of, what an epoch shows it, why few labels
# are not enough for it, and what it reaches with all of CIFAR-10's, from the published trials.

# %%
import os
from pathlib import Path

import numpy as np

import headstart  # before torch: threads that wait then sleep
import torch
from headstart import plots
from headstart.data.batches import ImageBatches
from headstart.models import MODELS, cnn, preprocess
from headstart.recipes import recipe_named

FAST = os.environ.get("HEADSTART_FAST") == "1"
OUT = Path("runs/02_cnn_from_scratch-fast" if FAST else "runs/02_cnn_from_scratch")
train = headstart.load_dataset("cifar10").train

# %% [markdown]
# ## What is it made of?
#
# Three blocks of two 3 × 3 convolutions, each followed by BatchNorm and ReLU; a pooling in each block; a global maximum; a linear
# layer.

# %%
print(cnn.__doc__)
spec, large = MODELS["cnn"], MODELS["resnet50"]
print(f"{spec.parameters:,} parameters, {spec.flops / 1e6:,.0f} million floating-point operations an image (one pass forward)")
print(f"for comparison, ResNet-50: {large.parameters:,} parameters")

# %% [markdown]
# **What we learn.** It has a thirteenth of ResNet-50's parameters. Nothing in it comes from other images.
#
# ## What does its first layer see?
#
# Neighbouring pixels are nearly the same, so raw pixels tell a network the same thing over and over. The first layer takes that
# redundancy out: its filters are the principal directions of 2 × 2 patches of training images, computed and not learned.

# %%
model = headstart.load_model("cnn", seed=0)
model.fit_whitening(preprocess(train.images[:5_000], model.preprocessing))
filters = model.whiten.weight.detach()[:12].permute(0, 2, 3, 1).numpy()
headstart.show(plots.image_grid(filters, [f"no. {i + 1}" for i in range(12)], columns=12),
               "Twelve first-layer filters of 2 × 2 pixels, from fine differences to plain colour")

# %%
horse = int(np.flatnonzero(train.labels == train.class_names.index("horse"))[0])
with torch.no_grad():
    responses = torch.relu(model.whiten(preprocess(train.images[horse : horse + 1], model.preprocessing)))[0]
maps = [np.repeat(responses[i].numpy()[..., None], 3, axis=-1) for i in (0, 3, 6, 9, 11)]
headstart.show(plots.image_grid([train.images[horse], *maps], ["the image", *(f"filter {i}" for i in (1, 4, 7, 10, 12))], columns=6),
               "One image through five of them: edges in two directions, differences in colour, brightness")

# %% [markdown]
# **What we learn.** Before any training the first layer separates edges, colour and brightness: the rest of the network begins from
# those.
#
# ## What does an epoch show it?
#
# Each time an image comes round it is shifted by up to two pixels, and every other time mirrored.

# %%
few = torch.tensor(np.array(train.images[:8]))
batches = ImageBatches(few, torch.tensor(train.labels[:8]), batch_size=8, seed=0, flip="alternating", translate_pixels=2)
views = np.concatenate([next(batches.epoch(epoch))[0].numpy() for epoch in range(3)])
headstart.show(plots.image_grid(views, row_titles=[f"epoch {epoch}" for epoch in range(3)]), "The same eight images, three epochs")

# %% [markdown]
# **What we learn.** The network never sees quite the same image twice. Which view it sees depends on the seed alone, so a trial can be
# repeated bit for bit.
#
# ## What happens with few images?
#
# A study is a value: arms, seeds, label budgets. This one trains the CNN on a small folder of CIFAR-10 images.

# %%
images = headstart.write_image_folder(train, OUT / "images", per_class=20 if FAST else 40)
recipe = recipe_named("cnn-fast").replace(duration="2 epochs" if FAST else "10 epochs", batch_size=50)
small = headstart.Study(
    name="small",
    title="A CNN on a few images",
    dataset=images.as_posix(),
    arms=(headstart.Arm(name="cnn", label="CNN from scratch", model="cnn", method="scratch", recipe=recipe),),
)
folder = headstart.run_study(small, out=OUT / "small")
headstart.load_results(folder)[["arm", "train_images", "train_accuracy", "val_accuracy", "test_accuracy"]].round(3)

# %%
headstart.load_figures(folder)["curves-epochs"]

# %% [markdown]
# **What we learn.** The training curve runs away from the validation curve: the network learns these images by heart. That distance is
# the generalization gap, and more labels are what closes it.
#
# ## What does it reach on all of CIFAR-10?
#
# From the published trials; nothing is trained here.

# %%
real = headstart.find_study("cifar10", "cifar10-quick")
summary = headstart.load_summary(real)
summary[summary["arm"] == "cnn"][["label", "labels_per_class", "n", "train_images", "train_accuracy", "val_accuracy", "test_accuracy",
                                  "seconds"]].round(4)

# %%
figures = headstart.load_figures(real)
figures["curves-epochs-random"]

# %%
figures["confusion-cnn"]

# %%
headstart.load_gallery(real)["sure-cnn"]

# %% [markdown]
# **What we learn.** From 10 labels per class to all the CNN gains more than half of all images. With all labels it errs on cats and dogs
# above all, and on cars and trucks.
#
# Next: what a network can do that has seen a million other images, [03_transfer_resnet](03_transfer_resnet.ipynb).
