"""Plots and small HTML pages, in one look (matplotlib is imported when a plot is drawn)."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe-Ito: told apart by colour-blind readers, on white and on dark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

PAGE_CSS = """
:root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--soft:#f3f4f6;--line:#d0d7de}
@media (prefers-color-scheme:dark){:root{--fg:#e6edf3;--bg:#0d1117;--soft:#161b22;--line:#30363d}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}img{max-width:100%;height:auto;background:#fff;border-radius:6px}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border-bottom:1px solid var(--line);padding:.3rem .8rem;text-align:left}
pre{background:var(--soft);padding:1rem;overflow-x:auto;border-radius:6px}.muted{opacity:.7}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:1rem}.card{background:var(--soft);padding:.7rem;border-radius:6px}
.card img{width:100%;image-rendering:pixelated}.card video{width:100%;border-radius:6px}.good{color:#1a7f37}.bad{color:#cf222e}
"""


def new_figure(
    columns: int = 1, rows: int = 1, width: float = 6.0, height: float = 3.6
) -> tuple[Figure, list[Axes]]:
    """A figure with quiet axes; independent of any global plotting state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.set_axisbelow(True)
    return figure, axes


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG bytes, without a date inside (same data, same bytes)."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def img(data: bytes, alt: str) -> str:
    """An <img> with the PNG inside."""
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def video(data: bytes, alt: str) -> str:
    """A <video> with the MP4 inside; it starts by itself, without sound, and repeats."""
    source = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    return f'<video controls autoplay loop muted playsinline aria-label="{html.escape(alt)}" src="{source}"></video>'


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """An HTML table; columns from the first row."""
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(str(k))}</th>" for k in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in r.values()) + "</tr>" for r in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def page(title: str, body: str) -> str:
    """A whole self-contained page (no outside request)."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{PAGE_CSS}</style><body><h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )
