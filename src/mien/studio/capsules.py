"""A face taken apart into capsules: pulled apart, lit anew, turned, with a part of somebody else."""

from __future__ import annotations

from typing import Any

from mien.studio.parts import (
    cancel_button,
    face_question,
    held,
    model,
    needed,
    photo_slot,
    picture,
    read_box,
    scratch,
    shown_picture,
    shown_pictures,
    told,
)

TITLE = "Parts of a face"
MODEL = "igc_net/small"
_HEIGHT, _SHEET = 320, 380


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "IGC-Net takes a face apart into parts in 3-D, learnt without a label. The net is small, sees 32 x 32"
        " pixels and learnt from rendered heads. **A swapped or turned face is made: show it only with the"
        " consent of both people, and say so.**"
    )
    own = held()
    with gr.Row():
        with gr.Column():
            photo, box, run = face_question("Face", "Take apart")
            said = gr.Markdown(elem_classes="mien-said")
        with gr.Column():
            view = shown_picture("As it is drawn", _HEIGHT)
            yaw = gr.Slider(-60, 60, 0, step=5, label="Turn, degrees")
            lit = gr.Checkbox(False, label="A light of your own")
            across = gr.Slider(-70, 70, 40, step=5, label="Light from the right, degrees")
            above = gr.Slider(-40, 60, 20, step=5, label="Light from above, degrees")
    sheet = shown_pictures("What it is made of", 6, _SHEET)
    with gr.Row():
        with gr.Column():
            apart = gr.Slider(0, 2, 1, step=0.1, label="Pulled apart by")
            solid = gr.Button("Mesh")
            mesh = gr.Model3D(label="Parts in 3-D", height=_HEIGHT)
            file = gr.File(label="GLB")
        with gr.Column():
            giver = photo_slot("Another face", 220)
            part = gr.Slider(1, 6, 1, step=1, label="Part (its colour is in the third picture above)")
            with gr.Row():
                swap = gr.Button("Swap this part")
                undo = gr.Button("Take apart again")
    looks = [own, yaw, lit, across, above]
    taking = [
        b.click(take_apart, [photo, box], [own, sheet, said]).then(drawn, looks, view) for b in (run, undo)
    ]
    swapping = swap.click(swapped, [own, giver, part], [own, sheet, said]).then(drawn, looks, view)
    for slider in (yaw, across, above):
        slider.release(drawn, looks, view, show_progress="hidden")
    lit.change(drawn, looks, view, show_progress="hidden")
    solid.click(surface, [own, apart], [mesh, file])
    cancel_button(*taking, swapping)


@told
def take_apart(path: str | None, box: str) -> tuple[Any, Any, str]:
    """The object capsule of a photograph, what it is made of, and its shares in words."""
    from mien.methods.igc_net.options import PredictOptions

    net = model(MODEL)
    found = net.capsules(picture(path, "a face"), PredictOptions(box=read_box(box)))
    return found.object, _sheet(net, found.crop, found.object), shares(found.shown.visibility)


def shares(visibility: Any) -> str:
    """How much of the picture each part has."""
    from mien.methods.igc_net.watchers import part_shares

    own = [f"part {k + 1} {100 * v:.0f} %" for k, v in enumerate(part_shares(visibility).tolist())]
    return f"Shares of the picture: {', '.join(own)}."


def _sheet(net: Any, crop: Any, obj: Any) -> list[tuple[Any, str]]:
    from mien.core.images import magnified
    from mien.methods.igc_net.pictures import COLUMNS, face_row

    rows = zip(face_row(net.net, crop, obj), COLUMNS, strict=True)
    return [(magnified(shown, 160), name) for shown, name in rows]


@told
def drawn(obj: Any, yaw: float, lit: bool, across: float, above: float) -> Any:
    """The face as it is, or turned from its front, or under another light."""
    import math

    import torch

    from mien.core.images import magnified
    from mien.methods.igc_net.edits import light_from, relight
    from mien.methods.igc_net.pictures import to_picture, turned

    if obj is None:
        return None
    net = model(MODEL)
    if lit:
        obj = relight(obj, light_from(obj, math.radians(across), math.radians(above)))
    if yaw:
        return magnified(turned(net.net, obj, (yaw,))[0], _HEIGHT)
    with torch.no_grad():
        return magnified(to_picture(net.net.render(obj).image[0]), _HEIGHT)


@told
def swapped(obj: Any, path: str | None, part: int) -> tuple[Any, Any, str]:
    """The face with a part of another one."""
    import torch

    from mien.core.errors import ConfigError
    from mien.methods.igc_net.edits import assembly_of, swap_part
    from mien.methods.igc_net.pictures import to_picture

    net, own = model(MODEL), needed(obj, "a face to take apart")
    count = len(net.net.queries)
    if not 1 <= part <= count:
        raise ConfigError(f"part {part}: there are parts 1 .. {count}")
    giver = net.capsules(picture(path, "another face"))
    with torch.no_grad():
        made = swap_part(own, giver.object, int(part) - 1, assembly_of(net.net))
        shown = net.net.render(made)
    return made, _sheet(net, to_picture(shown.image[0]), made), shares(shown.visibility)


@told
def surface(obj: Any, apart: float) -> tuple[str, str]:
    """The parts as GLB, pulled apart by so many times the usual distance; to be seen and to be kept."""
    from mien.methods.igc_net.meshes import REACH, exploded, merged, save, to_mesh

    own = needed(obj, "a face to take apart")
    mesh = merged(list(exploded(own, reach=apart * REACH).values())) if apart else to_mesh(own)
    path = str(save(scratch() / "face.glb", mesh))
    return path, path
