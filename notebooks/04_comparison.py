# %% [markdown]
# # 4. The comparison
#
# From scratch or pretrained? This notebook reads a finished study and asks it everything: how accurate, how sure, how costly, and
# whether the differences are more than luck. Nothing is trained.

# %%
import headstart

study = headstart.find_study("cifar10", "cifar10-quick")
print(study)
headstart.load_results(study)[["arm", "method", "labels_per_class", "seed", "train_images", "test_accuracy", "seconds"]]

# %% [markdown]
# ## The arms in one table
#
# A row an arm and label budget, means over its seeds. `n` counts seeds. With one seed there is no interval over seeds - not a
# width of zero, none. What remains is Wilson's interval over the test images: it speaks of that one trained model only. So it is
# for frozen networks with all labels: every seed would give the same head.

# %%
summary = headstart.load_summary(study)
summary[["label", "labels_per_class", "n", "test_accuracy", "test_accuracy_low", "test_accuracy_high", "wilson_low", "wilson_high",
         "generalization_gap"]].round(4)

# %%
figures = headstart.load_figures(study)
figures["accuracy"]

# %% [markdown]
# ## Statistics: is it more than luck?
#
# `compare` pairs the trials of two arms by seed - same split, same label subset - and asks for the interval of the difference. Beyond the
# margin it is *supported*, short of it *refuted*, across it *inconclusive*; one seed is *n/a*, whatever the size. Where several
# metrics are asked together, the intervals widen (Holm), so that asking more does not find more.

# %%
headstart.compare(study, "cnn", "probe", ["test_accuracy", "test_nll", "test_ece"])

# %%
headstart.compare(study, "finetune", "cnn", ["test_accuracy", "test_nll", "test_ece"])

# %% [markdown]
# The study's own claims were written down before it ran. Here is what became of them.

# %%
headstart.judge_claims(study)

# %% [markdown]
# ## Efficiency: what a percent costs
#
# Wall time is cold: features are counted even where the cache had them. Trials of several machines stand side by side here, and
# seconds are compared within one machine only; counted operations compare everywhere.

# %%
figures["curves-seconds-pretrained"]

# %%
figures["time"]

# %%
figures["cost"]

# %%
summary[["label", "labels_per_class", "seconds", "spent_seconds", "examples", "flops", "peak_memory_bytes"]].assign(
    TFLOP=summary["flops"] / 1e12, peak_GB=summary["peak_memory_bytes"] / 1e9
).drop(columns=["flops", "peak_memory_bytes"]).round(1)

# %% [markdown]
# ## Label budgets
#
# With few labels the order turns round: that is what pretraining is for. Up to 50 labels a class a frozen network is best; from
# 500 on it pays to train the pretrained network on.

# %%
figures["answer-labels"]

# %%
figures["pretraining"]

# %% [markdown]
# ## Generalization: what kind of errors
#
# Accuracy by class, and how far stated confidence can be trusted. A network trained with label smoothing states too little
# confidence; one number (a temperature, fitted on validation) mends most of it.

# %%
figures["classes"]

# %%
figures["reliability"]

# %% [markdown]
# The pictures on which the best of both sides disagree most clearly, both ways round.

# %%
gallery = headstart.load_gallery(study)
gallery["cnn-not-finetune"]

# %%
gallery["finetune-not-cnn"]

# %% [markdown]
# ## Verdict
#
# The study's answer in one sentence, computed from the trials above.

# %%
from headstart.report import verdict

print(verdict(study))

# %% [markdown]
# What this does not say: the CNN's design comes from work that was tuned on this very test set; ImageNet's classes overlap
# CIFAR-10's, so the pretrained network has seen most of these things before; three seeds are few; and up to ten tries
# for each searched arm are no exhaustive search. The report says more:
# [report/README.md](../report/README.md).
#
# Next: the same questions for pictures of your own, [05_your_own_images](05_your_own_images.ipynb).
