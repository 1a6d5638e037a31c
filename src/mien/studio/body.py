"""A photograph of a standing person becomes a clothed body in 3-D that takes other poses and walks."""

from __future__ import annotations

from typing import Any

from mien.studio.parts import (
    HEAVY,
    Watch,
    cancel_button,
    held,
    model,
    needed,
    percent,
    photo_slot,
    picture,
    saved_picture,
    scratch,
    shown_film,
    shown_pictures,
    told,
)

TITLE = "Body"
MODEL = "car/small"
POSED = "as photographed"
RESOLUTION = 96
_STAGES = ("body", "normals", "coarse surface", "refinement", "skin and colours", "pictures")
_PERSON = 999_999  # number of the made person, far behind those of any training
_SHOWN = {
    "overlay": "body over the photograph",
    "normals": "guessed normals",
    "views": "the avatar, front and back",
    "uncertainty": "where colours come from, how little is known",
}


def build() -> None:
    """The tab."""
    import gradio as gr

    from mien.methods.car.poses import POSES

    gr.Markdown(
        "One photograph of a whole standing person before a plain background (or with a mask) becomes a body"
        " in 3-D (CAR). The nets are small and learnt from made people. **Make an avatar of somebody only"
        " with their consent, and say that it is one.**"
    )
    own = held()
    with gr.Row():
        with gr.Column():
            photo = photo_slot("Person")
            with gr.Accordion("Mask (white = person; else a plain background is taken away)", open=False):
                mask = photo_slot("Mask", 200)
            refine = gr.Checkbox(True, label="Refine: adds folds and edges, some six seconds")
            with gr.Row():
                make = gr.Button("Make the avatar", variant="primary")
                example = gr.Button("A made person")
            cancel = gr.Row()
            said = gr.Markdown(elem_classes="mien-said")
        with gr.Column():
            solid = gr.Model3D(
                label="Avatar",
                height=420,
                clear_color=(0.93, 0.93, 0.93, 1.0),
                camera_position=(None, None, 3.2),
            )
            pose = gr.Dropdown([POSED, *POSES], value=POSED, label="Pose")
            walk = gr.Button("Let it walk")
            film = shown_film("Walk", 260)
            file = gr.File(label="GLB with skeleton and walk")
    shown = shown_pictures("What was seen and made", 4, 300)
    making = make.click(reconstruct, [photo, mask, refine], [own, shown, said, file], **HEAVY)
    making.success(reposed, [own, pose], solid)
    pose.change(reposed, [own, pose], solid)
    walking = walk.click(walked, own, film, **HEAVY)
    example.click(made_person, None, photo)
    with cancel:
        cancel_button(making, walking)


@told
def made_person() -> str:
    """A picture of a made person whom no training saw. Some three seconds."""
    from mien.methods.car.demo import made_case, photo_of
    from mien.synth.clothed_set import ClothedSet

    case = made_case(ClothedSet(identities=_PERSON + 1, per_identity=1, unseen=0), _PERSON)
    return saved_picture(photo_of(case), "person")


@told
def reconstruct(path: str | None, mask: str | None, refine: bool) -> tuple[Any, Any, str, str]:
    """The avatar, pictures, what is told of it, and a GLB. Some twelve seconds."""
    from pathlib import Path

    from mien.methods.car.predict import body_for, check_photo, photo_of, pictures_of, result_of
    from mien.methods.car.walk import walk_cycle

    watch = Watch()

    def stage(name: str) -> None:
        watch(_STAGES.index(name), len(_STAGES), name)

    net, given = model(MODEL), picture(path, "a photograph of a person")
    stage("body")
    photo, _ = photo_of(Path(str(path)) if mask is None else given, mask or "auto", net.size, None)
    check_photo(photo)
    body = body_for(photo, None)
    found = net.reconstruct(
        photo.image, photo.mask, body, refine=refine, coarse=RESOLUTION, fine=RESOLUTION, told=stage
    )
    stage("pictures")
    shown = [(p, _SHOWN[name]) for name, p in pictures_of(photo, body, found).items()]
    avatar = found.avatar
    file = avatar.export(scratch() / "avatar.glb", animations={"walk": walk_cycle(avatar)})
    return found, shown, explained(result_of(photo, body, found)), str(file)


def explained(result: Any) -> str:
    """A result in words."""
    seen = {name: percent(share) for name, share in result.shares.items() if share}
    return (
        f"{result.vertices:,} vertices, {'closed' if result.watertight else 'not closed'}, made in"
        f" {sum(result.seconds.values()):.0f} s. The naked body covers the person by"
        f" {percent(result.overlap)}. Colours: {', '.join(f'{k} {v}' for k, v in seen.items())}."
    )


@told
def reposed(found: Any, name: str) -> str | None:
    """The avatar in a pose, as GLB; nothing before there is one."""
    from mien.methods.car.poses import in_pose
    from mien.render.mesh_io import save_mesh

    if found is None:
        return None
    path, avatar = scratch() / "posed.glb", found.avatar
    if name == POSED:
        return str(avatar.export(path, "posed"))
    mesh = in_pose(avatar, name)
    return str(save_mesh(path, mesh.vertices, mesh.faces, colors=mesh.colors))


@told
def walked(found: Any) -> str:
    """A film of two steps, seen by two cameras."""
    from mien.data.video import write_video
    from mien.methods.car.demo import FRAMES, walk_pictures, walking
    from mien.methods.car.walk import PERIOD

    own = needed(found, "the avatar its photograph")
    watch = Watch()
    watch(0, 2, "the walk")
    walk = walking(own, FRAMES)
    watch(1, 2, "its film")
    return str(write_video(scratch() / "walk.mp4", walk_pictures(own, walk), FRAMES / PERIOD).path)
