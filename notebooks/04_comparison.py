# %% [markdown]
# # 4. From scratch or pretrained: which wins, and how sure is that?
#
# This notebook reads the published study and asks it everything: how accurate, how sure, how costly, and what kind of errors. Nothing
# is trained.
#
# **Run time**: about a minute. **You will know**: who wins with all labels and with few, what the intervals mean, which of the claims
# held, and what accuracy costs.

# %%
import headstart
from headstart.report import verdict

study = headstart.find_study("cifar10", "cifar10-quick")
print(study)
print(verdict(study))

# %% [markdown]
# ## How accurate is each arm?
#
# A row an arm and label budget, means over its seeds. `n` counts seeds. With one seed there is no interval over seeds - not a width of
# zero, none. What remains is Wilson's interval over the test images: it speaks of that one trained network only. So it is for frozen
# networks with all labels: every seed would give the same head.

# %%
summary = headstart.load_summary(study)
summary[["label", "labels_per_class", "n", "test_accuracy", "test_accuracy_low", "test_accuracy_high", "wilson_low", "wilson_high",
         "generalization_gap"]].round(4)

# %%
figures = headstart.load_figures(study)
figures["accuracy"]

# %% [markdown]
# **What we learn.** With all labels the fine-tuned ResNet-50 is ahead of the CNN, and the CNN ahead of every frozen network.
#
# ## Is it more than luck?
#
# `compare` pairs the trials of two arms by seed: same split, same label subset. Two intervals: over seeds, on these test images; over
# seeds and images, for new ones of the same kind, which decides. Beyond the margin a difference is *supported*, short of it *refuted*,
# across it *inconclusive*; one seed is *n/a*. Where several metrics are asked together the intervals widen (Holm).

# %%
headstart.compare(study, "cnn", "probe", ["test_accuracy", "test_nll", "test_ece"])

# %%
headstart.compare(study, "finetune", "cnn", ["test_accuracy", "test_nll", "test_ece"])

# %% [markdown]
# And the study's own claims: seven written down before it ran, two after (post hoc).

# %%
headstart.judge_claims(study)

# %% [markdown]
# **What we learn.** Both leads are more than the luck of three seeds and of these 10,000 images. One claim is not decided: its two sides
# ran on different machines.
#
# ## What does accuracy cost?
#
# Wall time is cold: features are counted even where the cache had them. Seconds compare within one machine only; counted operations
# compare everywhere.

# %%
figures["curves-seconds-pretrained"]

# %%
figures["cost"]

# %%
summary[["label", "labels_per_class", "seconds", "spent_seconds", "examples", "flops", "peak_memory_bytes"]].assign(
    TFLOP=summary["flops"] / 1e12, peak_GB=summary["peak_memory_bytes"] / 1e9
).drop(columns=["flops", "peak_memory_bytes"]).round(1)

# %% [markdown]
# **What we learn.** Fine-tuning takes less work than the CNN's full recipe and is more accurate; features of a frozen network cost half
# as much and serve every label budget.
#
# ## How many labels does it take?

# %%
figures["answer-labels"]

# %%
figures["pretraining"]

# %% [markdown]
# **What we learn.** With few labels the order turns round: that is what pretraining is for. Up to 50 labels per class a frozen network
# is best; from 500 on fine-tuning pays.
#
# ## What kind of errors are left?
#
# How far stated confidence can be trusted: a network trained with label smoothing states too little, and one number (a temperature,
# fitted on validation images) mends most of it. And the images on which the best of both sides disagree.

# %%
figures["reliability"]

# %%
gallery = headstart.load_gallery(study)
gallery["cnn-not-finetune"]

# %%
gallery["finetune-not-cnn"]

# %% [markdown]
# **What we learn.** Each side is right on images that the other gets wrong: they do not fail alike.
#
# What this does not say: the CNN's design comes from work that was tuned on this very test set; ImageNet's classes overlap CIFAR-10's;
# three seeds are few; and up to ten tries for each searched arm are no exhaustive search. The report says more:
# [report/README.md](../report/README.md).
#
# Next: the same questions for images of your own, [05_your_own_images](05_your_own_images.ipynb).
