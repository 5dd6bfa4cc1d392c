"""All layers of a pretrained network go on learning, earlier stages more slowly, under a new head that begins
at zero."""

from __future__ import annotations

from headstart.methods import network
from headstart.methods.base import Context, Method, Outcome
from headstart.recipes import TransferRecipe


def run(context: Context) -> Outcome:
    """Fine-tunes the arm's network on the trial's images and reads it on train sample, validation and
    test."""
    recipe = context.trial.arm.recipe
    assert isinstance(recipe, TransferRecipe)
    with context.watch.phase("prepare"):
        model = network.build_network(context)
        network.set_policy(model, recipe)
        network.zero_head(model)
    return network.read_network(context, network.train_on_images(context, model, recipe))


class FineTune(Method):
    def run(self, context: Context) -> Outcome:
        return run(context)
