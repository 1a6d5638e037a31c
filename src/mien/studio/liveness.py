"""Is there a living person before the camera? From whatever cameras there are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mien.core.errors import ConfigError
from mien.studio.parts import (
    arrived,
    model,
    percent,
    photo_slot,
    scratch,
    shown_pictures,
    told,
)

TITLE = "Liveness"
_FIRST = 900_000  # number of the first rendered person, far behind those of any training
_SLOTS = {"rgb": "Colour", "depth": "Depth", "ir": "Near infrared"}


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "Pictures of one moment from any of three cameras (FM-ViT). Learnt from rendered people: rates on"
        " real cameras are another matter."
    )
    with gr.Row():
        slots = [photo_slot(label, 240) for label in _SLOTS.values()]
    with gr.Row():
        run = gr.Button("Judge", variant="primary")
        living = gr.Button("A rendered person")
        attack = gr.Button("A rendered attack")
    said = gr.Markdown(elem_classes="mien-said")
    seen = shown_pictures("Where it looked", 3, 260)
    run.click(judge, slots, [said, seen])
    number = gr.State(0)
    living.click(rendered_person, number, [*slots, number])
    attack.click(rendered_attack, number, [*slots, number])


@told
def judge(*paths: str | None) -> tuple[str, list[tuple[Any, str]]]:
    """The verdict in words, and maps of relevance."""
    from mien.core.images import read_image
    from mien.methods.fm_vit.config import PredictOptions

    given = {m: arrived(p, "a picture") for m, p in zip(_SLOTS, paths, strict=True) if p is not None}
    if not given:
        raise ConfigError("give a picture of at least one camera first")
    with tempfile.TemporaryDirectory() as folder:
        found = model("fm_vit/small").predict(given, options=PredictOptions(maps=folder))[0]
        maps = [(read_image(Path(p)), Path(p).stem) for p in found.maps]
    said = explained(found)
    for path in given.values():
        said = said.replace(f"{path.parent}/", "")
    return said, maps


def explained(found: Any) -> str:
    """A result in words."""
    if found.probability is None:
        return f"**Not judged**: {found.status.replace('_', ' ')}. {found.note}"
    word = "Live" if found.live else "Attack"
    text = (
        f"**{word}**: {percent(found.probability)} live, threshold {percent(found.threshold)} ({found.rule})."
    )
    parts = ", ".join(f"{_SLOTS[m].lower()} {percent(p)}" for m, p in found.branches)
    text += f" Each camera alone: {parts}." if len(found.branches) > 1 else ""
    if found.missing:
        text += f" Not given: {', '.join(_SLOTS[m].lower() for m in found.missing)}."
    return f"{text} {found.note}".strip()


@told
def rendered_person(number: int) -> tuple[str, str, str, int]:
    """Files of a person whom three cameras see, and the number of the next one."""
    return (*_seen(number, 1.0), number + 1)


@told
def rendered_attack(number: int) -> tuple[str, str, str, int]:
    """Files of a print, a screen or a mask that three cameras see, and the number of the next one."""
    return (*_seen(number, 0.0), number + 1)


def _seen(number: int, live: float) -> tuple[str, str, str]:
    from mien.core import io
    from mien.synth.made_sets import PadSet

    made = PadSet(identities=1, per_identity=1, size=128, live=live, first=_FIRST + number)
    (sample,) = made.samples(0)
    ends = {"rgb": "png", "depth": "depth.png", "ir": "ir.png"}
    folder = scratch()
    rgb, depth, ir = (
        str(io.write_bytes(folder / f"{name}.png", sample.files[ends[name]])) for name in _SLOTS
    )
    return rgb, depth, ir
