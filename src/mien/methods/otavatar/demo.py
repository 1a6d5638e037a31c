"""``mien demo otavatar``: a rendered person and a real portrait do what a rendered person does."""

from __future__ import annotations

import html
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mien.core import figures, io
from mien.core.seeds import derive
from mien.data.video import write_video
from mien.engine.predictor import default_device
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.otavatar.avatar import Frame, OneShotAvatar
from mien.methods.otavatar.config import PredictOptions
from mien.methods.otavatar.crops import look_at
from mien.methods.otavatar.driving import Retarget
from mien.methods.otavatar.head_pose import Orbit
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.predict import AvatarResult, Predictor, frame_rate, picture_psnr, timed
from mien.synth.face import detail_for
from mien.synth.motion import Frame as MotionFrame
from mien.synth.motion import both_sides, expression_rows
from mien.synth.orbit import orbit_cameras, photograph_orbit, studio
from mien.synth.portraits import make_face
from mien.synth.sheet import contact_sheet

OURS = "otavatar/demo"
PERSON = 1_000_000
"""Number of the rendered person, far behind those of any training."""
SEED, FRAMES = 7, 60
"""The performance."""
BOX = (182, 82, 268, 174)
"""The face in `skimage.data.astronaut` (NASA, public domain), from the brows to the chin."""
STEPS, TUNED, RATE, OWN = 60, 80, 0.0, 0.15
"""Of the inversion; of the tuning after it, its rate, and that of the person's own planes."""
SIDES = (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6)
"""Yaw of the cameras of the sheet, radians."""
SHOWN = 7
"""Frames of the sheet."""
ASKED: tuple[Mapping[str, float], ...] = (
    {"jawOpen": 0.8},
    {"eyeBlink": 1.0},
    {"mouthSmile": 0.9, "cheekSquint": 0.6},
    {"mouthFunnel": 0.8, "jawOpen": 0.4},
    {"browInnerUp": 0.9, "browOuterUp": 0.8, "eyeWide": 0.9},
    {"browDown": 0.9, "noseSneer": 0.6, "mouthFrown": 0.8},
    {"mouthLeft": 0.8},
)
"""Expressions that are asked for one by one; names as in `mien.synth.motion.KEYS`."""
_TURN = Orbit(yaw=0.6, period=50)
_NOTE = (
    "<p class=muted>All moving pictures here are synthetic. Whoever shows such a video of a real person"
    " should have their consent, and say that it is made.</p>"
)
_WIDE = 420  # CSS pixels of a card
_BLUR = 1.5  # pixels


@dataclass(frozen=True, eq=False)
class Performance:
    """One person doing something: frames, and looks from the sides.

    Attributes:
        still: the portrait, or what the avatar makes of it.
        frames: T pictures.
        sides: one picture for each of `SIDES`.
        asked: one picture for each of `ASKED`.
    """

    still: Frame
    frames: list[Frame]
    sides: list[Frame]
    asked: list[Frame]


@dataclass(frozen=True, eq=False)
class Shown:
    """An avatar's performance.

    Attributes:
        own: what it draws.
        turn: pictures of one turn of the camera.
        seconds: of inversion and tuning.
        fps: frames a second (`frame_rate`).
    """

    own: Performance
    turn: list[Frame]
    seconds: float
    fps: float


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Brings a rendered person and a real portrait to life, or the user's portraits."""
    folder = output / "otavatar"
    avatar = Predictor.from_folder(load_folder(OURS))
    if inputs:
        return _animate(folder, avatar, inputs)
    track = MotionTrack.from_talk(SEED, FRAMES, "perform")
    true = perform_truly(PERSON, track, avatar.size)
    made = bring_to_life(avatar, true.still, None, track, "absolute")
    portrait, mask = astronaut(avatar.size)
    on_white = np.asarray(np.rint(mask[..., None] * portrait + 255 * (1 - mask[..., None])), np.uint8)
    real = bring_to_life(avatar, portrait, mask, track, "relative")
    found = {
        "psnr_rendered": picture_psnr(made.own.still, true.still),
        "psnr_frames": mean_psnr(made.own.frames, true.frames),
        "psnr_sides": mean_psnr(made.own.sides, true.sides),
        "psnr_real": picture_psnr(real.own.still, on_white),
        "motion": share_of_change(made.own, true),
        "fps": min(made.fps, real.fps),
        "seconds_invert": max(made.seconds, real.seconds),
    }
    files, cards = [], []
    for name, title, still, shown in (
        ("rendered", "a rendered person; right: what is true", true.still, made),
        ("real", "a photograph (NASA); right: the driver", on_white, real),
    ):
        talk = write_video(folder / f"{name}.mp4", beside(still, shown.own.frames, true.frames), track.fps)
        turn = write_video(folder / f"{name}_turn.mp4", shown.turn, 25.0)
        files += [talk.path, turn.path]
        cards += [_card(talk.path, f"portrait, avatar, and {title}"), _card(turn.path, f"{name}: all around")]
    sheet = figures.picture_rows([
        ("true", [true.still, *_some(true.frames)]), ("avatar", [made.own.still, *_some(made.own.frames)]),
        ("true", [true.still, *true.sides]), ("avatar", [made.own.still, *made.own.sides]),
        ("true", [true.still, *true.asked]), ("avatar", [made.own.still, *made.own.asked]),
        ("driver", [on_white, *_some(true.frames)]), ("avatar", [real.own.still, *_some(real.own.frames)]),
        ("avatar", [real.own.still, *real.own.sides]),
        ("avatar", [real.own.still, *real.own.asked]),
    ])  # fmt: skip
    files.append(io.write_bytes(folder / "sheet.png", sheet))
    text = (
        f"<p>Two people whom no training saw, from one picture each, moved by {FRAMES} frames of expressions"
        f" and head poses, looked at from other sides, and asked for {len(ASKED)} expressions one by one."
        f" First a code is sought ({STEPS} steps), then planes of the person's own are learnt ({TUNED}"
        " steps).</p>"
        f"{figures.cards(''.join(cards), _WIDE)}"
        + figures.table(_numbers(found))
        + figures.img(sheet, "portraits, frames and other sides, true and drawn")
        + _NOTE
    )
    headline = {k: round(v, 2) for k, v in found.items()}
    return DemoResult(headline, text, (avatar.folder.weights,), tuple(files))


def perform_truly(number: int, track: MotionTrack, size: int) -> Performance:
    """What a rendered person really looks like in a motion. O(T size^2), 0.06 s a picture at 128.

    Args:
        number: of the person.
        track: the motion, with names of actions.
        size: pixels a side.
    """
    who = derive(0, "identity", number)
    person, shot = make_face(who, detail_for(size)), studio(who)

    def seen(camera: NDArray[np.float32], row: NDArray[np.float32]) -> Frame:
        return photograph_orbit(person, shot, camera, row, track.names, size).rgb

    rest = np.zeros_like(track.expression[0])
    frames = [seen(*pair) for pair in zip(track.cameras(), track.expression, strict=True)]
    sides = [seen(c, rest) for c in orbit_cameras(SIDES)]
    front = orbit_cameras(0)[0]
    asked = [seen(front, row) for row in asked_rows(track.names)]
    return Performance(seen(front, rest), frames, sides, asked)


def asked_rows(names: Sequence[str]) -> NDArray[np.float32]:
    """(len(ASKED), len(names)) rows of `ASKED`."""
    faces = [MotionFrame(both_sides(a), 0.0, 0.0, 0.0, (0.0, 0.0)) for a in ASKED]
    return expression_rows(faces, names)


def astronaut(size: int) -> tuple[Frame, NDArray[np.float32]]:
    """The square around Eileen Collins' head and shoulders, and what of it is her."""
    from skimage.data import astronaut as portrait

    crops = look_at([portrait()], PredictOptions(box=BOX), size)
    assert crops.masks is not None
    return crops.pictures[0], crops.masks[0]


def bring_to_life(
    avatar: OneShotAvatar,
    picture: Frame,
    mask: NDArray[np.float32] | None,
    track: MotionTrack,
    retarget: Retarget,
) -> Shown:
    """Inverts a portrait, tunes the generator, and draws the motion, the sides and one turn.

    Args:
        avatar: with a trained net.
        picture: (S, S, 3) crop.
        mask: (S, S) what of it is the person; None = what is not white.
        track: the motion.
        retarget: see `OneShotAvatar.animate`.
    """
    began = time.perf_counter()
    state = avatar.invert(
        picture, mask=mask, steps=STEPS, pti_steps=TUNED, pti_lr=RATE, pti_own=OWN, seed=SEED
    )
    seconds, taken = time.perf_counter() - began, list[float]()
    frames = list(timed(avatar.animate(state, track, retarget=retarget), taken))
    field = avatar.field(state)
    sides = [field.picture(c, avatar.size) for c in torch.from_numpy(orbit_cameras(SIDES))]
    asked = [avatar.view(state, expression=row) for row in asked_rows(track.names)]
    own = Performance(avatar.view(state), frames, sides, asked)
    return Shown(own, list(avatar.turntable(state, _TURN)), seconds, frame_rate(taken) or 0.0)


def share_of_change(drawn: Performance, true: Performance) -> float:
    """How much of the changes that were asked for comes: 1 = all of it, 0 = nothing.

    <d, t> / <t, t> with d the drawn and t the true difference of a picture from the portrait, both blurred by
    a pixel or two; mean over `ASKED`. What changes elsewhere does not count.
    """

    def change(shown: Performance, k: int) -> NDArray[np.float64]:
        odd = shown.asked[k].astype(np.float64) - shown.still
        return np.asarray(gaussian_filter(odd / 255, (_BLUR, _BLUR, 0))).ravel()

    pairs = [(change(drawn, k), change(true, k)) for k in range(len(true.asked))]
    return statistics.fmean(float(d @ t) / max(1e-12, float(t @ t)) for d, t in pairs)


def mean_psnr(pictures: Sequence[Frame], true: Sequence[Frame]) -> float:
    """Mean PSNR of pictures, dB."""
    return statistics.fmean(picture_psnr(a, b) for a, b in zip(pictures, true, strict=True))


def beside(still: Frame, *clips: Sequence[Frame]) -> Iterator[Frame]:
    """A still and the frames of clips of equal length side by side, frame by frame."""
    for frames in zip(*clips, strict=True):
        yield contact_sheet([still, *frames], 1 + len(clips))


def _some(frames: Sequence[Frame]) -> list[Frame]:
    """`SHOWN` frames, evenly spread."""
    return [frames[k] for k in np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)]


def _numbers(found: dict[str, float]) -> list[dict[str, str]]:
    """The table of the page."""
    said = {
        "psnr_rendered": "the rendered person's portrait and its avatar, dB",
        "psnr_frames": "the rendered person's true frames and those drawn, dB",
        "psnr_sides": "the same from other sides, at rest, dB",
        "psnr_real": "the photograph and its avatar, dB",
        "motion": "share of what should change with an expression that does (1 = all of it)",
        "fps": f"frames a second of {html.escape(str(default_device()))}, one at a time",
        "seconds_invert": "seconds of inversion and tuning",
    }
    digits = {"motion": 2}
    return [{"": text, "value": f"{found[name]:.{digits.get(name, 1)}f}"} for name, text in said.items()]


def _card(path: Path, title: str) -> str:
    return f"<div class=card>{figures.video(path.read_bytes(), title)}<div>{html.escape(title)}</div></div>"


def _animate(folder: Path, avatar: Predictor, inputs: list[Path]) -> DemoResult:
    """The user's portraits, each moved by the same performance."""
    options = PredictOptions(
        driving="perform", frames=FRAMES, seed=SEED, retarget="relative", steps=STEPS, pti_steps=TUNED,
        pti_lr=RATE, pti_own=OWN, size=avatar.size, output=str(folder),
    )  # fmt: skip
    results = avatar.predict(*map(str, inputs), options=options)
    cards = "".join(_answer(p, r) for p, r in zip(inputs, results, strict=True))
    last = results[-1]
    headline: dict[str, Any] = {"portraits": len(results), "status": last.status}
    for name in ("psnr", "fps", "seconds_invert"):
        value = getattr(last, name)
        headline[name] = None if value is None else round(value, 2)
    files = tuple(Path(f) for r in results for f in r.files)
    return DemoResult(headline, f"{figures.cards(cards, _WIDE)}{_NOTE}", tuple(inputs), files)


def _answer(path: Path, result: AvatarResult) -> str:
    """One of the user's portraits as a card."""
    shown = ""
    for file in map(Path, result.files):
        if file.suffix == ".png":
            shown += figures.img(file.read_bytes(), file.stem)
        elif file.suffix == ".mp4":
            shown += figures.video(file.read_bytes(), file.stem)
    kind = "good" if result.status == "ok" else "bad"
    note = f" <span class=muted>{html.escape(result.note)}</span>" if result.note else ""
    said = f"{html.escape(path.name)}: <b class={kind}>{result.status}</b>{note}"
    return f"<div class=card>{shown}<div>{said}</div></div>"
