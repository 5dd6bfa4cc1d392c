# %% [markdown]
# # 3. What is somebody else's training worth?
#
# The second side: ResNet-50, whose weights were learned from 1.28 million ImageNet images. Somebody else paid for that; we ask what it
# is worth on other images: frozen, with a new head, or fine-tuned.
#
# **Run time**: about four minutes on two cores, most of it features. **You will know**: what features are, why a linear probe needs few
# labels, what each step from frozen to fine-tuned costs, and what each reaches on all of CIFAR-10, from the published trials.

# %%
import os
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

import headstart
from headstart import plots
from headstart.data.splits import label_subset, validation_split
from headstart.models import MODELS
from headstart.recipes import recipe_named
from headstart.results.metrics import accuracy
from headstart.training.feature_rows import predict_logits
from headstart.training.logistic import SolverOptions, fit_path

FAST = os.environ.get("HEADSTART_FAST") == "1"
OUT = Path("runs/03_transfer_resnet-fast" if FAST else "runs/03_transfer_resnet")
train = headstart.load_dataset("cifar10").train
train_ids, val_ids = validation_split(train.labels, train.fingerprint)
print("what the pretraining cost its makers:", MODELS["resnet50"].pretraining)

# %% [markdown]
# ## What does the frozen network say of an image?
#
# Without its last layer the network turns an image into 2,048 numbers, its features. Nothing is trained, so they are computed once for
# each image and shared by every trial. Images are enlarged first: the network was made for 224 pixels and finds little in 32. Here 100
# labels per class and some validation images are enough.

# %%
PIXELS, budgets = (32, [2, 5, 10]) if FAST else (96, [5, 20, 100])
held_out_ids = val_ids[: 200 if FAST else 1_000]
ids = np.union1d(label_subset(train.labels, train_ids, train.fingerprint, 0, budgets[-1]), held_out_ids)
features = headstart.load_features(train, input_pixels=PIXELS, ids=ids)
held_out, labels = np.searchsorted(ids, held_out_ids), train.labels[ids]
pixels = train.images[ids].reshape(len(ids), -1)
print(f"{len(features.values):,} images, {features.values.shape[1]:,} features each, {features.values.dtype}")


# %%
def to_plane(values):
    few = values[held_out[:600]].astype(np.float32)
    return TSNE(random_state=0, init="pca").fit_transform(PCA(30, random_state=0).fit_transform(few))


shown = labels[held_out[:600]]
headstart.show(plots.embedding(to_plane(pixels), shown, train.class_names, "t-SNE of raw pixels"), "Raw pixels: one heap",
               f"{len(shown):,} validation images")

# %%
headstart.show(plots.embedding(to_plane(features.values), shown, train.class_names, "t-SNE of ResNet-50 features"),
               "Features of a network that never saw a CIFAR-10 label: classes gather", f"{len(shown):,} validation images")

# %% [markdown]
# **What we learn.** In raw pixels the classes lie in one heap; in the features images of a class lie together, though the network never
# saw a CIFAR-10 label.
#
# ## How few labels does a linear probe need?
#
# A probe is a linear classifier on frozen features: multinomial logistic regression, a convex problem with one answer. Fitted on raw
# pixels it shows what the features add. Accuracy is on validation images; test images stay unread here.

# %%
def probe_accuracy(values, budget):
    chosen = label_subset(train.labels, train_ids, train.fingerprint, 0, budget)
    (fit,) = fit_path(values, labels, num_classes=10, l2_values=[0.03], ids=np.searchsorted(ids, chosen),
                      options=SolverOptions(tolerance=1e-3))
    return accuracy(predict_logits(values, fit.weight, fit.bias, ids=held_out), labels[held_out])


curves = {name: [probe_accuracy(values, budget) for budget in budgets]
          for name, values in (("ResNet-50 features", features.values), ("raw pixels", pixels.astype(np.float16) / 255))}
headstart.show(plots.lines(budgets, curves, "labels per class", "Validation accuracy of a linear probe", log_x=True),
               "With a handful of labels the features already say most", f"Seed 0, {len(held_out):,} validation images, no choice made")

# %% [markdown]
# **What we learn.** The features do most of the work before the first label; the labels only name what already lies apart.
#
# ## What does each step from frozen to fine-tuned cost?
#
# More of the network can be allowed to learn: a vote of neighbours (`knn`), a new head (`linear_probe`), the last stage (`partial`),
# everything (`finetune`). Here on a small folder of images.

# %%
images = headstart.write_image_folder(train, OUT / "images", classes=["bird", "cat", "deer", "dog"], per_class=15 if FAST else 40)
short = {"duration": "2 steps" if FAST else "3 epochs", "batch_size": 16}
steps = [("knn", "kNN", "knn", {}), ("probe", "Linear probe", "probe", {}),
         ("partial", "Fine-tuned last stage", "partial", short), ("finetune", "Fine-tuned ResNet-50", "finetune", short)]
methods = {"probe": "linear_probe"}
study = headstart.Study(
    name="ladder",
    title="From frozen to fine-tuned",
    dataset=images.as_posix(),
    arms=tuple(
        headstart.Arm(name=name, label=label, model="resnet50", weights="imagenet-keras", method=methods.get(name, name),
                      recipe=recipe_named(recipe).replace(**changes), input_pixels=32 if FAST else 64)
        for name, label, recipe, changes in steps
    ),
)
ladder = headstart.run_study(study, out=OUT / "ladder")
headstart.load_summary(ladder)[["label", "n", "val_accuracy", "test_accuracy", "wilson_low", "wilson_high", "seconds"]].round(3)

# %%
headstart.load_figures(ladder)["cost"]

# %% [markdown]
# **What we learn.** The intervals over so few test images are wide: a small folder seldom tells neighbouring steps apart. What differs
# plainly is the cost.
#
# ## What does each step reach on all of CIFAR-10?
#
# From the published trials: from one label per class to all of them.

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
# **What we learn.** With few labels the frozen network is best; from some hundred labels per class on, the more of it learns, the better.
#
# Next: both sides against each other, [04_comparison](04_comparison.ipynb).
