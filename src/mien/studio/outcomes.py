"""What was measured: tables and claims, drawn from the committed results."""

from __future__ import annotations

from typing import Any

from mien.studio.parts import told

TITLE = "Results"


def build() -> None:
    """The tab."""
    import gradio as gr

    from mien.core.catalogue import methods

    names = [n for n, e in methods().items() if e.package and e.measured]
    which = gr.Dropdown([*names, "compose"], value=names[0], label="Method")
    gr.Markdown(
        "Seeds, 95 % intervals; a claim holds when its interval lies on the claimed side for every seed."
    )
    picture = gr.Plot(label="Claims")
    claims = gr.Markdown()
    rows = gr.Markdown()
    for event in (which.change, which.select):
        event(shown, which, [picture, claims, rows])
    show = gr.Button("Show", variant="primary")
    show.click(shown, which, [picture, claims, rows])


@told
def shown(name: str) -> tuple[Any, str, str]:
    """A figure of the claims' intervals, the claims and the rows as tables."""
    from mien.bench.store import claims_json, load_table
    from mien.bench.tables import claim_rows, markdown, row_tables
    from mien.core.catalogue import table_entry

    table = load_table(table_entry(name))
    return drawn(claims_json(table)), markdown(claim_rows(table)), "\n".join(map(markdown, row_tables(table)))


def drawn(claims: list[dict[str, Any]]) -> Any:
    """Intervals of the claims that are differences, green where they hold."""
    from mien.core.figures import new_figure

    own = [c for c in claims if c["value"] is not None and c["unit"] == "points"]
    figure, (axes,) = new_figure(width=6.5, height=0.6 + 0.42 * max(1, len(own)))
    colours = {True: "#2a7d4f", False: "#b03a2e", None: "#8a8a8a"}
    for place, claim in enumerate(reversed(own)):
        low, high = (100 * v for v in claim["interval"])
        axes.plot([low, high], [place, place], color=colours[claim["holds"]], lw=3, solid_capstyle="round")
        axes.plot(100 * claim["value"], place, "o", color=colours[claim["holds"]])
    axes.axvline(0, color="#444", lw=0.8)
    axes.set_yticks(range(len(own)), [c["id"] for c in reversed(own)])
    axes.set_xlabel("gain, points")
    return figure
