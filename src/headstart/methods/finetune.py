"""All layers of a pretrained network learn on, earlier stages more slowly, under a new head that starts at
zero."""

from __future__ import annotations

from headstart.methods import network
from headstart.methods.base import Context, Outcome
from headstart.recipes import TransferRecipe


class FineTune(network.NetworkMethod):
    """All layers learn, from pretrained weights."""

    def run(self, context: Context) -> Outcome:
        """Fine-tune the arm's network on the trial's images and read it on train sample, validation and
        test."""
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, TransferRecipe)
        with context.watch.phase("prepare"):
            model = network.build_network(context)
            network.set_policy(model, recipe)
            network.zero_head(model)
        return network.read_network(context, network.train_on_images(context, model, recipe))
