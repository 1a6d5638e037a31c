"""Is there a living person before the camera? From whatever cameras there are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mien.core.errors import ConfigError
from mien.studio.parts import model, percent, scratch, told

TITLE = "Liveness"
_SLOTS = {"rgb": "Colour", "depth": "Depth", "ir": "Near infrared"}


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "Pictures of one moment from any of three cameras (FM-ViT). Learnt from rendered people: rates on"
        " real cameras are another matter."
    )
    with gr.Row():
        slots = [
            gr.Image(type="filepath", label=label, height=240, sources=["upload"])
            for label in _SLOTS.values()
        ]
    with gr.Row():
        run = gr.Button("Judge", variant="primary")
        example = gr.Button("A rendered example")
    said = gr.Markdown(elem_classes="mien-said")
    seen = gr.Gallery(label="Where it looked", height=260, columns=3)
    run.click(judge, slots, [said, seen])
    example.click(rendered, None, slots)


@told
def judge(*paths: str | None) -> tuple[str, list[tuple[Any, str]]]:
    """The verdict in words, and maps of relevance."""
    from mien.core.images import read_image
    from mien.methods.fm_vit.config import PredictOptions

    given = {m: Path(p) for m, p in zip(_SLOTS, paths, strict=True) if p is not None}
    if not given:
        raise ConfigError("give a picture of at least one camera first")
    with tempfile.TemporaryDirectory() as folder:
        found = model("fm_vit/small").predict(given, options=PredictOptions(maps=folder))[0]
        maps = [(read_image(Path(p)), Path(p).stem) for p in found.maps]
    return explained(found), maps


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
def rendered() -> tuple[str, str, str]:
    """Files of a person whom three cameras see."""
    from mien.core import io
    from mien.synth.made_sets import PadSet

    settings = PadSet(identities=1, size=128)
    folder = scratch()
    sample = next(iter(settings.samples(0)))
    files = {m: sample.files[end] for m, end in (("rgb", "png"), ("depth", "depth.png"), ("ir", "ir.png"))}
    for name, data in files.items():
        io.write_bytes(folder / f"{name}.png", data)
    paths = tuple(str(folder / f"{name}.png") for name in _SLOTS)
    return paths[0], paths[1], paths[2]
