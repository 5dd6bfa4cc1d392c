"""Saved models behind an address: predictions over HTTP, by the code that `headstart predict` runs."""
