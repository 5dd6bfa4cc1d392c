"""A Figure as inline SVG that follows a page from light to dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from headstart.plots.fonts import give_families, missing_letters_pass
from headstart.plots.style import ARM_COLORS_LIGHT, GRID, HEAT, INK, MUTED, PAPER, STYLE

_CSS_COLORS = {
    INK: "currentColor",
    MUTED: f"var(--muted,{MUTED})",
    GRID: f"var(--grid,{GRID})",
    PAPER: f"var(--page,{PAPER})",
    HEAT: f"var(--heat,{HEAT})",
    **{color: f"var(--arm{i},{color})" for i, color in enumerate(ARM_COLORS_LIGHT)},
}
_FONTS = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def svg_text(figure: Figure, name: str, description: str) -> str:
    """The figure as one inline <svg> element: text stays text, colours follow the page, ids begin with
    `name`.

    The same figure and name give the same bytes on every call: no date, no random ids, two decimals.
    """
    buffer = io.StringIO()
    give_families(figure)
    with mpl.rc_context(STYLE), missing_letters_pass(), laid_out(figure):  # type: ignore[arg-type]
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
            transparent=True,
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    svg = re.sub(r"<[^>]+>", lambda tag: _clean_tag(tag[0], used, name), svg)
    for _ in range(6):  # groups that lost their id wrap one element or nothing
        svg = re.sub(r"<g>\s*</g>|<defs>\s*</defs>", "", svg)
    svg = re.sub(r">\s+<", ">\n<", svg)
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None
    width, height = box[1].split()[2:]
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box[1]}" '
        f'width="{width}" height="{height}" class="plot" role="img" aria-label="{_escape(description)}" '
        f'font-family="{_FONTS}" style="stroke-linejoin:round">'
    )
    return opening + svg[svg.index(">") + 1 :]


@contextmanager
def laid_out(
    figure: Figure, canvas: type[FigureCanvasBase] = FigureCanvasSVG, dpi: float | None = None
) -> Iterator[None]:
    """Places what the figure holds, as saving would, which would draw everything once more for that."""
    layout = figure.get_layout_engine()
    if layout is None:
        yield
        return
    canvas(figure)
    usual = figure.dpi
    figure.dpi = dpi or usual
    layout.execute(figure)
    figure.dpi = usual
    figure.set_layout_engine(None)
    yield
    figure.set_layout_engine(layout)


def on_paper(markup: str) -> str:
    """The markup with the light colours in place of CSS variables, for files and paper."""
    markup = re.sub(r"var\(--[a-z0-9]+,(#[0-9a-f]{6})\)", r"\1", markup)
    return markup.replace("currentColor", INK)


def svg_file(svg: str) -> str:
    """An inline <svg> as the text of a file: fixed colours on a white ground, readable in a dark page too."""
    svg = re.sub(
        r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', on_paper(svg), count=1
    )
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + svg.strip() + "\n"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _clean_tag(tag: str, used: set[str], name: str) -> str:
    """One tag with page colours, prefixed ids (unused ones dropped), no font family, short numbers."""
    if "data:image" not in tag:
        tag = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag)
    tag = re.sub(r' id="([^"]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", tag)
    tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)
    tag = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', tag)
    tag = re.sub(r"font-family: [^;\"]+;? ?", "", tag)
    tag = re.sub(
        r"font: ([^;\"]*?)([\d.]+px) [^;\"]+;? ?",
        lambda match: f"font-weight: {match[1].strip() or 'normal'}; font-size: {match[2]}; ",
        tag,
    )
    tag = re.sub(r' transform="rotate\(-0 [^"]+\)"', "", tag)
    tag = re.sub(r"#[0-9a-f]{6}\b", lambda color: _CSS_COLORS.get(color[0], color[0]), tag)
    return re.sub(r"\s*\n\s*", " ", tag)
