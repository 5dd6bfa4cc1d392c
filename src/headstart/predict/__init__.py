"""A saved model in use: load it, predict, explain, export."""
