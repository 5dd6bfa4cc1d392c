"""How a model learns, a file each; importing this folder imports no torch.

Adding one: a class derived from `base.Method` in a file here, and an entry in registry/methods.py."""

from __future__ import annotations

from headstart.registry.methods import METHODS, FeatureUse, MethodSpec, method_spec

__all__ = ["METHODS", "FeatureUse", "MethodSpec", "method_spec"]
