# %% [markdown]
# # 3. A pretrained ResNet
#
# The second side: ResNet-50, whose weights were learned from 1.28 million ImageNet pictures. Somebody else paid for that; we ask
# what it is worth on other images - used as it is, with a new head, or trained on.

# %%
import os
from pathlib import Path

import numpy as np

import headstart
from headstart import plots
from headstart.data.splits import label_subset, validation_split
from headstart.training.feature_rows import predict_logits
from headstart.training.logistic import SolverOptions, fit_path
from headstart.results.metrics import accuracy
from headstart.models import MODELS

FAST = os.environ.get("HEADSTART_FAST") == "1"
OUT = Path("runs/03_transfer_resnet-fast" if FAST else "runs/03_transfer_resnet")

dataset = headstart.load_dataset("cifar10")
train = dataset.train
train_ids, val_ids = validation_split(train.labels, train.fingerprint)
print("what the pretraining cost its makers:", MODELS["resnet50"].pretraining)

# %% [markdown]
# ## Features: the frozen network as a measuring device
#
# Without its last layer the network turns a picture into 2,048 numbers. Nothing in it is trained, so those numbers are computed
# once for each image, kept, and shared by every trial. The pictures are enlarged first: the network was made for 224 pixels and
# finds little in 32.

# %%
PIXELS = 32 if FAST else 96
budgets = [2, 5, 10] if FAST else [5, 20, 100]
largest = label_subset(train.labels, train_ids, train.fingerprint, 0, budgets[-1])
# The fast mode computes what it needs; otherwise all 50,000, as the study does, and from its cache.
ids = np.union1d(largest, val_ids[:200]) if FAST else np.arange(len(train))
features = headstart.load_features(train, input_pixels=PIXELS, ids=ids if FAST else None)
held_out = np.searchsorted(ids, val_ids[:200] if FAST else val_ids)
print(f"{len(features.values):,} images, {features.values.shape[1]:,} features each, {features.values.dtype}")

# %% [markdown]
# ## What the feature space looks like
#
# t-SNE lays images out in the plane so that near neighbours stay near. First the raw pixels of validation images: classes lie
# in one heap. Then their features: the network never saw a CIFAR-10 label, and still pictures of a class lie together.

# %%
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

few = held_out[:200] if FAST else held_out[:600]
labels = train.labels[ids[few]]
flat = train.images[ids].reshape(len(ids), -1) if FAST else train.images.reshape(len(train), -1)


def to_plane(values):
    return TSNE(random_state=0, init="pca").fit_transform(PCA(30, random_state=0).fit_transform(values.astype(np.float32)))


headstart.show(plots.embedding(to_plane(flat[few]), labels, train.class_names, "t-SNE of raw pixels"), "Raw pixels: one heap",
               f"{len(few):,} validation images")

# %%
headstart.show(plots.embedding(to_plane(features.values[few]), labels, train.class_names, "t-SNE of ResNet-50 features"),
               "Features of a network that never saw a CIFAR-10 label: classes gather", f"{len(few):,} validation images")

# %% [markdown]
# ## A probe
#
# A probe is a linear classifier on frozen features: multinomial logistic regression, a convex problem with one answer. Fitted
# on raw pixels it shows what the features add. Accuracy is on validation images; the test images stay unread here.

# %%
def probe_accuracy(values, budget):
    chosen = label_subset(train.labels, train_ids, train.fingerprint, 0, budget)
    (fit,) = fit_path(values, train.labels[ids], num_classes=10, l2_values=[0.03], ids=np.searchsorted(ids, chosen),
                      options=SolverOptions(tolerance=1e-3))
    return accuracy(predict_logits(values, fit.weight, fit.bias, ids=held_out), train.labels[ids[held_out]])


pixels = flat.astype(np.float16) / 255
curves = {"ResNet-50 features": [probe_accuracy(features.values, budget) for budget in budgets],
          "raw pixels": [probe_accuracy(pixels, budget) for budget in budgets]}
headstart.show(plots.lines(budgets, curves, "labels a class", "Validation accuracy of a linear probe", log_x=True),
               "With a handful of labels the features already say most", f"Seed 0, {len(held_out):,} validation images, no choice made")

# %% [markdown]
# ## The ladder from frozen to fine-tuned
#
# More of the network can be allowed to learn: nothing but a vote of neighbours (`knn`), a new head (`linear_probe`), the last
# stage (`partial`), everything (`finetune`). Here on a small folder of pictures, enough to see what each step costs.

# %%
pictures = headstart.write_image_folder(train, OUT / "pictures", classes=["bird", "cat", "deer", "dog"], per_class=15 if FAST else 40)
resnet = f'model = "resnet50"\nweights = "imagenet-keras"\ninput_pixels = {32 if FAST else 64}\n'
changes = f'recipe_changes = {{ duration = "{"2 steps" if FAST else "3 epochs"}", batch_size = 16 }}\n'
study = OUT / "ladder.toml"
study.write_text(f"""
name = "ladder"
title = "From frozen to fine-tuned"
dataset = "{pictures.as_posix()}"

[[arms]]
name = "knn"
label = "Nearest neighbours"
method = "knn"
{resnet}
[[arms]]
name = "probe"
label = "New head"
method = "linear_probe"
{resnet}
[[arms]]
name = "partial"
label = "Last stage trained on"
method = "partial"
{resnet}{changes}
[[arms]]
name = "finetune"
label = "All layers trained on"
method = "finetune"
{resnet}{changes}
""")
ladder = headstart.run_study(str(study), out=OUT / "ladder")
headstart.load_summary(ladder)[["label", "n", "val_accuracy", "test_accuracy", "wilson_low", "wilson_high", "seconds"]].round(3)

# %% [markdown]
# The intervals are over the few test pictures of this folder, and they are wide: a small folder seldom tells neighbouring steps
# of the ladder apart. What differs plainly is the cost.

# %%
headstart.load_figures(ladder)["cost"]

# %% [markdown]
# ## The real run
#
# Every rung on CIFAR-10 itself, from the finished study: from one label a class to all of them.

# %%
real = headstart.find_study("cifar10", "cifar10-quick")
summary = headstart.load_summary(real)
rungs = summary[summary["arm"].isin(["knn", "probe", "partial", "finetune", "lp-ft"])]
table = rungs.pivot_table(index="label", columns="labels_per_class", values="test_accuracy", sort=False)
table[[1, 5, 10, 50, 500, "all"]].round(3)

# %%
whole = rungs[rungs["labels_per_class"] == "all"]
whole[["label", "n", "val_accuracy", "test_accuracy", "test_nll", "test_ece", "flops"]].round(4)

# %%
headstart.load_figures(real)["confusion-probe"]

# %%
headstart.load_gallery(real)["sure-probe"]

# %% [markdown]
# Next: both sides against each other, [04_comparison](04_comparison.ipynb).
