"""A method, a recipe, a data set and a model that an installed package adds to Headstart."""
