"""A document as a PDF: the same words, tables and vector figures, set for paper.

Fonts are those that matplotlib brings (STIX for text, DejaVu Sans in figures), so that every machine sets the
same lines.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import matplotlib

from headstart import plots, store
from headstart.errors import ConfigError
from headstart.plots.fonts import legible
from headstart.report.document import Document
from headstart.report.writers.html import STYLES, html

_FACES = (
    ("Text", "STIXGeneral.ttf", 400, "normal"),
    ("Text", "STIXGeneralBol.ttf", 700, "normal"),
    ("Text", "STIXGeneralItalic.ttf", 400, "italic"),
    ("Text", "STIXGeneralBolIta.ttf", 700, "italic"),
    ("Plain", "DejaVuSans.ttf", 400, "normal"),
    ("Plain", "DejaVuSans-Bold.ttf", 700, "normal"),
    ("Code", "DejaVuSansMono.ttf", 400, "normal"),
)


def write_pdf(document: Document, path: Path) -> None:
    """Writes a document as a PDF; the same document gives the same bytes with the same weasyprint.

    Raises: ConfigError where weasyprint, or a library that it needs, is not there; StoreError where path
    cannot be written."""
    from PIL import ImageFile

    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        import weasyprint
        from weasyprint.text.fonts import FontConfiguration
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"no PDF: weasyprint does not import ({error}); pip install 'headstart[report]' and, on Debian, "
            "apt-get install libpango-1.0-0 libpangoft2-1.0-0"
        ) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = (
            strict  # weasyprint lets the whole process read half files as images
        )
    logging.getLogger("weasyprint").setLevel(
        logging.CRITICAL
    )  # it tells of every CSS property that is not for paper
    fonts = FontConfiguration()
    with _no_clock():
        style = weasyprint.CSS(string=_style(document.title), font_config=fonts)
        page = weasyprint.HTML(string=legible(html(document, "", paper=True)))
        content = page.write_pdf(stylesheets=[style], font_config=fonts)
    store.write_bytes(path, content)


def _style(title: str) -> str:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    faces = "".join(
        f'@font-face{{font-family:"{family}";src:url("file://{quote(str(folder / file))}");'
        f"font-weight:{weight};"
        f"font-style:{slant}}}\n"
        for family, file, weight, slant in _FACES
    )
    arms = "".join(f"--arm{place}:{color};" for place, color in enumerate(plots.ARM_COLORS_LIGHT))
    running = plots.visible(title).replace("\\", "\\\\").replace('"', "”").replace("<", "\\3c ")
    sheet = (STYLES / "print.css").read_text(encoding="utf-8")
    return f'{faces}:root{{{arms}}}\n@page{{@top-left{{content:"{running}"}}}}\n{sheet}'


@contextmanager
def _no_clock() -> Iterator[None]:
    """Fonts are cut down with a date inside them: the same one always."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = "315532800"  # 1980
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before
