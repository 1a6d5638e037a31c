"""A portrait becomes a head that moves: sliders for pose and expression, a film of a made talk, a mesh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from mien.core.errors import ConfigError
from mien.studio.parts import (
    HEAVY,
    Watch,
    arrived,
    cancel_button,
    face_question,
    held,
    model,
    needed,
    picture,
    read_box,
    scratch,
    shown_film,
    shown_picture,
    told,
)

TITLE = "Talking head"
MODEL = "otavatar/demo"
SLIDERS = {
    "jawOpen": "Jaw",
    "mouthSmile": "Smile",
    "eyeBlink": "Blink",
    "browInnerUp": "Brows",
    "mouthPucker": "Pucker",
}
MOTIONS: dict[str, Literal["talk", "perform"]] = {"talks": "talk", "strong expressions": "perform"}
_STEPS, _TUNED, _OWN = 60, 80, 0.15
_SIZE, _FRAMES, _FILM = 256, 60, 192
_FPS, _LONGEST = 25.0, 250


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "One portrait is explained by a small generator (OTAvatar), which then turns and speaks. **What it"
        " makes is synthetic: show it only with the consent of the person, and say that it is made.**"
    )
    person = held()
    with gr.Row():
        with gr.Column():
            photo, box, make = face_question("Portrait", "Make the avatar")
        with gr.Column():
            view = shown_picture("Avatar", 300)
            sliders = [gr.Slider(-35, 35, 0, step=1, label="Turn, degrees")]
            sliders += [gr.Slider(-17, 17, 0, step=1, label="Nod, degrees")]
            sliders += [gr.Slider(0, 1, 0, step=0.05, label=label) for label in SLIDERS.values()]
    with gr.Row():
        with gr.Column():
            motion = gr.Radio(list(MOTIONS), value=next(iter(MOTIONS)), label="Made motion")
            driver = gr.File(
                label="Or a driver: a film of a face, at rest in its first frames, or a track (.npz, .mat)",
                file_types=["video", ".npz", ".mat"],
            )
            relative = gr.Checkbox(True, label="Take over only what changes in the driver's face")
            with gr.Row():
                film = gr.Button("Let it move", variant="primary")
                solid = gr.Button("Mesh")
            cancel = gr.Row()
        video = shown_film("Made video", 300)
        mesh = gr.Model3D(label="Mesh", height=300)
    making = make.click(invert, [photo, box], [person, view], **HEAVY)
    for slider in sliders:
        slider.release(seen, [person, *sliders], view, show_progress="hidden")
    filming = film.click(talking, [person, motion, driver, relative], video, **HEAVY)
    meshing = solid.click(surface, person, mesh, **HEAVY)
    with cancel:
        cancel_button(making, filming, meshing)


@told
def invert(path: str | None, box: str) -> tuple[Any, Any]:
    """The person's state, and a first view. Some five seconds."""
    from mien.methods.otavatar.config import PredictOptions
    from mien.methods.otavatar.crops import look_at

    avatar = model(MODEL)
    options = PredictOptions(box=read_box(box))
    crops = look_at([picture(path, "a portrait")], options, avatar.size)
    if crops.status != "ok":
        raise ConfigError(f"this portrait does not do: {crops.status.replace('_', ' ')}")
    watch = Watch()

    def step(number: int, loss: float) -> bool:
        watch(number, _STEPS, f"error {loss:.4f}")
        return False

    state = avatar.invert(
        list(crops.pictures),
        mask=crops.masks,
        steps=_STEPS,
        pti_steps=_TUNED,
        pti_lr=0.0,
        pti_own=_OWN,
        callback=step,
    )
    return state, avatar.view(state, size=_SIZE)


def expression(names: tuple[str, ...], values: tuple[float, ...]) -> list[float]:
    """The actions that the sliders move, left and right alike, by the names of a net."""
    wanted = dict(zip(SLIDERS, values, strict=True))
    return [next((v for k, v in wanted.items() if n in (k, f"{k}Left", f"{k}Right")), 0.0) for n in names]


@told
def seen(state: Any, yaw: float, pitch: float, *parts: float) -> Any:
    """The person from a side, with an expression."""
    import numpy as np

    from mien.synth.orbit import orbit_cameras

    if state is None:
        return None
    camera = orbit_cameras(np.deg2rad(yaw), np.deg2rad(pitch))[0]
    avatar = model(MODEL)
    return avatar.view(state, camera, np.array(expression(avatar.names, parts), np.float32), size=_SIZE)


@told
def talking(state: Any, motion: str, driver: str | None = None, relative: bool = True) -> str:
    """A film of the avatar in a made motion, or in that of a driver."""
    from mien.data.video import write_video
    from mien.methods.otavatar.motion_track import MotionTrack

    own, watch = needed(state, "the avatar its portrait"), Watch()
    if driver is None:
        track = MotionTrack.from_talk(0, _FRAMES, MOTIONS[motion])
    else:
        watch(0, 1, "the driver's motion")
        track = track_of(str(arrived(driver, "a driver")))
    frames = model(MODEL).animate(
        own, track, size=_FILM, retarget="relative" if driver and relative else "absolute"
    )
    path = scratch() / "talk.mp4"
    return str(write_video(path, _watched(frames, len(track), watch), track.fps).path)


def _watched(frames: Iterator[Any], count: int, watch: Watch) -> Iterator[Any]:
    for number, frame in enumerate(frames):
        watch(min(number, count), count, "frames")
        yield frame


def track_of(path: str) -> Any:
    """The motion of a driver: a track, or a film that is tracked first (it needs MediaPipe)."""
    from mien.data.face_track import track_video, write_track
    from mien.data.pad_clips import is_video
    from mien.methods.otavatar.config import PredictOptions
    from mien.methods.otavatar.predict import read_track

    if is_video(Path(path)):
        clip = track_video(path, _FPS, most=_LONGEST)
        path = str(write_track(scratch() / "driver.npz", clip, _FPS))
    return read_track(PredictOptions(driving=path, frames=_LONGEST))


@told
def surface(state: Any) -> str:
    """The surface as GLB."""
    from mien.render.mesh_io import save_mesh

    found = model(MODEL).mesh(needed(state, "the avatar its portrait"))
    path = scratch() / "head.glb"
    return str(save_mesh(path, found.vertices, found.faces, colors=found.colors))
