"""Data health: images that are there twice, labels that look wrong, and what both do to a study's numbers.

record: what was found, as it lies in a study's folder (torch-free). examine: finding it. similarity: pairs of
alike features.
"""
