"""Data quality: unreadable files, duplicates, and labels that look wrong.

folder, inspection, page: `headstart data check` of a user's own images. dataset: the examination of a study's
dataset. record: its result in the study's folder (torch-free). similarity: pairs of similar features.
label_errors: suspected label errors.
"""
