"""Show an inspection: one self-contained HTML page with images, and tables for the terminal."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from headstart.data.folders.cache import DecodedSource
from headstart.data.folders.divide import by_reason
from headstart.data_quality.inspection import DuplicateGroup, Inspection
from headstart.runtime.show import shown

if TYPE_CHECKING:
    from PIL.Image import Image

_TEMPLATES = Path(__file__).parent / "templates"
_TILE_PIXELS = 64
_TILES = 2400  # on the whole page: 3 MB
_COLUMNS = 12
_ROWS_SHOWN = 60  # of each list on the page
_DUPLICATES_SHOWN = 4  # of each group on the page
_ODD_SHOWN = 24  # of each kind of odd images on the page
_LINES_SHOWN = 12  # of each list on the terminal
_MARKS = {"error": ("✕", "bold red"), "warning": ("!", "yellow"), "note": ("·", "dim")}


def render_page(inspection: Inspection, decoded: DecodedSource) -> str:
    """Render the page as HTML text: no network, no script; light and dark."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    groups = sorted(
        inspection.groups, key=lambda group: (not group.across_classes, not group.across_parts, group.kind)
    )
    suspects = inspection.suspects or ()
    return environment.get_template("check.html").render(
        inspection=inspection,
        style=Markup((_TEMPLATES / "check.css").read_text(encoding="utf-8")),
        verdict=verdict(inspection),
        sheets=_sheets(inspection, decoded),
        most=max((c.images for c in inspection.classes), default=1) or 1,
        groups=[_shown_group(group, decoded) for group in groups[:_ROWS_SHOWN]],
        more_groups=len(groups) - _ROWS_SHOWN,
        odd=[
            {"title": title, "count": len(places), "images": [_odd(decoded, p) for p in places[:_ODD_SHOWN]]}
            for title, places in inspection.odd.items()
        ],
        suspects=[
            {"suspect": s, "image": _thumbnail(decoded.images[s.place])} for s in suspects[:_ROWS_SHOWN]
        ],
        more_suspects=len(suspects) - _ROWS_SHOWN,
        bad=inspection.bad[:200],
        more_bad=len(inspection.bad) - 200,
    )


def verdict(inspection: Inspection) -> str:
    """Sum up an inspection in one sentence."""
    counts = {
        kind: sum(remark.severity == kind for remark in inspection.remarks) for kind in ("error", "warning")
    }
    usable = f"{inspection.readable:,} images of {len(inspection.classes):,} classes can be used"
    if counts["error"]:
        return f"{usable}, but {_number(counts['error'], 'thing')} must be mended first."
    if counts["warning"]:
        return f"{usable}; {_number(counts['warning'], 'thing')} to look at."
    return f"{usable}; nothing wrong was found."


def terminal(inspection: Inspection) -> Group:
    """Show an inspection on a terminal: classes, remarks with advice, and the first of each list."""
    title = f"{shown(inspection.path)}: {inspection.readable:,} of {inspection.files:,} files give an image"
    classes = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold"
    )
    classes.add_column("class")
    parts = [part for part in ("train", "val", "test") if inspection.parts[part]]
    for title in ("images", *parts, "unreadable"):
        classes.add_column(title, justify="right")
    for row in inspection.classes[:40]:
        classes.add_row(
            shown(row.name),
            f"{row.images:,}",
            *(f"{getattr(row, part):,}" for part in parts),
            f"{row.unreadable:,}",
        )
    if len(inspection.classes) > 40:
        classes.add_row(f"and {len(inspection.classes) - 40:,} more")
    if not inspection.parts_given and parts:
        classes.caption = "train and test: as headstart divides them; near duplicates stay on one side"
        classes.caption_justify = "left"
    lines = []
    for remark in inspection.remarks:
        mark, style = _MARKS[remark.severity]
        advice = f"\n    {remark.advice}" if remark.advice else ""
        lines.append(Text.assemble((f"{mark} ", style), remark.message, (advice, "dim")))
    lines += _listed("unreadable, by cause", by_reason(inspection.bad))
    lines += _listed(
        "copies across splits or labels",
        [f"{g.kind}: {', '.join(g.names)}" for g in inspection.groups if g.across_parts or g.across_classes],
    )
    lines += _listed(
        "suspected label errors",
        [
            f"{s.name}: {s.given}, looks like {s.suggested} ({100 * s.suggested_probability:.0f} %)"
            for s in inspection.suspects or ()
        ],
    )
    return Group(classes, *lines, Text(f"\n{verdict(inspection)}", "bold"))


def _listed(title: str, rows: Sequence[str]) -> list[Text]:
    if not rows:
        return []
    more = [Text(f"  and {len(rows) - _LINES_SHOWN:,} more", "dim")] if len(rows) > _LINES_SHOWN else []
    return [
        Text(f"\n{title} ({len(rows):,})", "bold"),
        *(Text(f"  {shown(row)}") for row in rows[:_LINES_SHOWN]),
        *more,
    ]


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _sheets(inspection: Inspection, decoded: DecodedSource) -> list[dict[str, Any]]:
    """A contact sheet for each class: images spread evenly over the class's files."""
    tiles = int(np.clip(_TILES // max(len(inspection.classes), 1), _COLUMNS // 2, 4 * _COLUMNS))
    entries = decoded.source.entries
    by_class: dict[str, list[int]] = {}
    for place in decoded.readable.tolist():
        by_class.setdefault(entries[place].label, []).append(place)
    sheets = []
    for row in inspection.classes:
        places = by_class.get(row.name, [])
        spread = np.linspace(0, len(places) - 1, min(tiles, len(places))).round().astype(int)
        chosen = [places[i] for i in np.unique(spread)]
        sheets.append(
            {
                "row": row,
                "shown": len(chosen),
                "image": _sheet(decoded.images, chosen) if chosen else None,
                "columns": min(_COLUMNS, len(chosen)),
                "rows": -(-len(chosen) // _COLUMNS),
            }
        )
    return sheets


def _sheet(images: NDArray[np.uint8], places: Sequence[int]) -> str:
    import PIL.Image

    columns = min(_COLUMNS, len(places))
    sheet = PIL.Image.new(
        "RGB", (columns * _TILE_PIXELS, -(-len(places) // _COLUMNS) * _TILE_PIXELS), (128, 128, 128)
    )
    for number, place in enumerate(places):
        tile = PIL.Image.fromarray(images[place]).resize(
            (_TILE_PIXELS, _TILE_PIXELS), PIL.Image.Resampling.BICUBIC
        )
        sheet.paste(tile, (number % _COLUMNS * _TILE_PIXELS, number // _COLUMNS * _TILE_PIXELS))
    return _uri(sheet, quality=80)


def _shown_group(group: DuplicateGroup, decoded: DecodedSource) -> dict[str, Any]:
    rows = list(zip(group.names, group.classes, group.parts, group.places, strict=True))[:_DUPLICATES_SHOWN]
    members = [
        {"name": name, "label": label, "part": part, "image": _thumbnail(decoded.images[place])}
        for name, label, part, place in rows
    ]
    return {"group": group, "members": members, "more": len(group.names) - _DUPLICATES_SHOWN}


def _odd(decoded: DecodedSource, place: int) -> dict[str, Any]:
    return {"name": decoded.source.entries[place].name, "image": _thumbnail(decoded.images[place])}


def _thumbnail(image: NDArray[np.uint8]) -> str:
    import PIL.Image

    return _uri(PIL.Image.fromarray(image).resize((96, 96), PIL.Image.Resampling.BICUBIC), quality=85)


def _uri(image: Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
