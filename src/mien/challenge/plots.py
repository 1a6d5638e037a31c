"""Small figures as inline SVG, so that a page needs neither a plotting package nor a file beside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from mien.core.figures import COLOURS

_W, _H, _LEFT, _BOTTOM = 520, 200, 44, 34


def _frame(title: str, x_label: str, body: Sequence[str], height: int = _H) -> str:
    base = height - _BOTTOM
    axis = f'<path d="M{_LEFT} 24V{base}H{_W - 8}" fill="none" stroke="currentColor" stroke-opacity=".5"/>'
    return (
        f'<svg role="img" aria-label="{html.escape(title)}" viewBox="0 0 {_W} {height}" '
        f'style="width:100%;max-width:{_W + 120}px;height:auto;font:11px system-ui,sans-serif" '
        f'fill="currentColor"><text x="{_LEFT}" y="14">{html.escape(title)}</text>{axis}{"".join(body)}'
        f"{_text((_LEFT + _W) / 2, height - 4, x_label)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{html.escape(text)}</text>'


def _across(share: float) -> float:
    return _LEFT + share * (_W - 12 - _LEFT)


def histogram(kinds: Mapping[str, Sequence[int]], threshold: float, title: str) -> str:
    """Shares of each kind in equal bins of scores from 0 to 1, with the threshold where it lies there.

    Args:
        kinds: name -> numbers in the bins.
        threshold: drawn as a line.
        title: above.
    """
    base, body = _H - _BOTTOM, []
    shares = {name: [n / max(1, sum(counts)) for n in counts] for name, counts in kinds.items()}
    top = max(max(heights) for heights in shares.values()) or 1.0
    for k, (name, heights) in enumerate(shares.items()):
        levels = [base - (base - 28) * share / top for share in heights]
        edges = [_across(i / len(levels)) for i in range(len(levels) + 1)]
        points = [f"{x:.1f} {y:.1f}" for i, y in enumerate(levels) for x in edges[i : i + 2]]
        path = f"M{_LEFT} {base}L{'L'.join(points)}L{edges[-1]:.1f} {base}Z"
        body.append(f'<path d="{path}" fill="{COLOURS[k]}" fill-opacity=".35" stroke="{COLOURS[k]}"/>')
        body.append(_text(_W - 12, 36 + 14 * k, f"{name} ({sum(kinds[name]):,})", "end", COLOURS[k]))
    if 0 <= threshold <= 1:
        x = _across(threshold)
        body.append(f'<path d="M{x:.1f} 24V{base}" stroke="currentColor" stroke-dasharray="4 3"/>')
        body.append(_text(x + 4, 34, f"{threshold:.4g}", "start"))
    body += [_text(_across(v), base + 13, f"{v:g}") for v in (0, 0.25, 0.5, 0.75, 1)]
    body.append(_text(_LEFT - 5, 32, f"{100 * top:.2g} %", "end"))
    return _frame(title, "score (1 = live)", body)


def bars(values: Sequence[float | None], names: Sequence[str], title: str, x_label: str) -> str:
    """Rates in [0, 1] as bars in per cent; None is said, not drawn.

    Args:
        values: of each bar.
        names: below each.
        title: above.
        x_label: below all.
    """
    top = max([v for v in values if v is not None] or [0.0]) or 1.0
    base, step = _H - _BOTTOM, 1 / len(values)
    body = []
    for k, (value, name) in enumerate(zip(values, names, strict=True)):
        x, wide = _across(k * step), (_across(step) - _LEFT) * 0.8
        high = 0.0 if value is None else (base - 40) * value / top
        body.append(
            f'<rect x="{x + wide / 8:.1f}" y="{base - high:.1f}" width="{wide:.1f}" height="{high:.1f}" '
            f'fill="{COLOURS[0]}"/>'
        )
        shown = "n/a" if value is None else f"{100 * value:.1f}"
        body.append(_text(x + wide * 0.625, base - high - 4, shown))
        body.append(_text(x + wide * 0.625, base + 13, name))
    return _frame(title, x_label, body)


def ranges(rows: Sequence[tuple[str, float, tuple[float, float]]], title: str, x_label: str) -> str:
    """A value in [0, 1] with its interval for each row, in per cent.

    Args:
        rows: name, value, interval.
        title: above.
        x_label: below.
    """
    top = max([max(value, high) for _, value, (_, high) in rows] or [0.0]) * 1.05 or 1.0
    height, body = 34 + 20 * len(rows) + _BOTTOM, []
    for k, (name, value, (low, high)) in enumerate(rows):
        y = 40 + 20 * k
        a, b, at = (_LEFT + 90 + v / top * (_W - 106 - _LEFT) for v in (low, high, value))
        body.append(_text(_LEFT + 82, y + 4, name if len(name) <= 18 else name[:17] + "…", "end"))
        body.append(
            f'<path d="M{a:.1f} {y}H{b:.1f}" stroke="{COLOURS[0]}" stroke-width="3" stroke-opacity=".5"/>'
        )
        body.append(f'<circle cx="{at:.1f}" cy="{y}" r="4" fill="{COLOURS[0]}"/>')
    for share in (0, 0.5, 1):
        x = _LEFT + 90 + share * (_W - 106 - _LEFT)
        body.append(_text(x, height - _BOTTOM + 13, f"{100 * share * top:.3g}"))
    return _frame(title, x_label, body, height)
