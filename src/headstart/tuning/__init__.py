"""The search for a recipe on validation images."""
