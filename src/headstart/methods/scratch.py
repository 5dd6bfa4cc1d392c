"""Training from random weights, all layers, end to end.

With the fine-tuning recipe this is the control that tells pretraining from architecture; with a recipe of its
own it is a ResNet's fair chance.
"""

from __future__ import annotations

from headstart.methods import network
from headstart.methods.base import Context, Outcome
from headstart.recipes import TrainingRecipe


class Scratch(network.NetworkMethod):
    """All layers learn, from random weights."""

    def run(self, context: Context) -> Outcome:
        """Train the arm's network on the trial's images and read it on train sample, validation and test."""
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, TrainingRecipe)
        with context.watch.phase("prepare"):
            model = network.build_network(context)
            network.set_policy(model, recipe)
            model.fit_to_images(lambda count: network.first_inputs(context, model, count))
        return network.read_network(context, network.train_on_images(context, model, recipe))
