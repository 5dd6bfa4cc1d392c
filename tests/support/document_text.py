"""What a reader sees of a document, in each of its forms."""

from __future__ import annotations

import re

from headstart.plots import visible
from headstart.report import document as doc


def without_spaces(text: str) -> str:
    return re.sub(r"[\s\u2060\u202f\u00a0]+", "", text)


def read_markdown(text: str) -> str:
    """What a reader of the rendered Markdown sees: marks, links and escapes undone."""
    text = re.sub(r"</?(?:sub|br|details|summary)>|<a id=[^>]*></a>", "", text)
    text = re.sub(r"\[((?:[^\[\]\\]|\\.)*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?<![\\*])\*{1,2}(?!\*)", "", text)
    text = re.sub(r"\\([\\*_`\[\]~$|#+\-])", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def words(document: doc.Document) -> list[str]:
    """Every piece of text of a document that all three forms show, without white space."""
    pieces = [document.title, document.question, document.footer]
    for block in doc.walk(document.blocks):
        if isinstance(block, doc.Gallery | doc.Contents):
            continue  # pictures' words are in the picture's file; the list of links is for a screen
        if isinstance(block, doc.Table) and block.kind in ("trials", "settings"):
            continue  # paper leaves out a row a trial, and a method's settings
        if isinstance(block, doc.Details) and block.kind == "long":
            continue
        pieces += [
            doc.plain(each) for each in doc.texts(block) if "every setting" not in doc.plain(each).lower()
        ]
    return [bare for piece in pieces if (bare := without_spaces(visible(piece)))]
