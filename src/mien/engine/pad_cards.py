"""What the demos of anti-spoofing say of a user's pictures: a verdict, and numbers of the summary."""

from __future__ import annotations

import html
from typing import Any, Protocol


class Judged(Protocol):
    """What every anti-spoofing result tells."""

    @property
    def status(self) -> str:
        """ok, or why it was not judged."""

    @property
    def live(self) -> bool | None:
        """Whether the probability reaches the threshold."""

    @property
    def probability(self) -> float | None:
        """Of being live."""

    @property
    def note(self) -> str:
        """What makes the answer less sure."""


def verdict(result: Judged) -> str:
    """Live or attack, and how sure, as HTML."""
    if result.probability is None:
        return f"<b>not judged: {html.escape(result.status)}</b>"
    kind, said = ("good", "live") if result.live else ("bad", "attack")
    return f"<b class={kind}>{said}, P(live) {100 * result.probability:.0f} %</b>"


def note(result: Judged) -> str:
    """The note as HTML, if there is one."""
    return f"<div class=muted>{html.escape(result.note)}</div>" if result.note else ""


def headline(result: Judged) -> dict[str, Any]:
    """Numbers of the last result for the summary."""
    probability = None if result.probability is None else round(result.probability, 4)
    return {"status": result.status, "live": result.live, "probability": probability}
