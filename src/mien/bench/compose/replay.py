"""OTAvatar x FM-ViT: an avatar made of one portrait is shown to a liveness detector on a screen.

Beside it stand the person's own pictures, of the same moments, on the same screen in the same hands: the two
rows differ in what the screen shows and in nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.pad_images import MODALITIES, PadArrays, PadLabels
from mien.data.rendered_pad import crop_face
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.engine.zoo import load_folder
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.score import live_logits, subset_name
from mien.methods.fm_vit.task import configs
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.predict import Predictor
from mien.metrics import by_cluster
from mien.synth.attacks import ScreenAttack, face_box
from mien.synth.body import people as human
from mien.synth.face import Person, Picture, detail_for
from mien.synth.looks import sample_shot
from mien.synth.motion import expression_rows, read_expression, talk
from mien.synth.orbit import studio
from mien.synth.portraits import make_face, photograph
from mien.synth.sensors import Sensor

AVATAR, DETECTOR = "otavatar/demo", "fm_vit/small"
SUBSETS = (("rgb",), ("depth",), ("ir",), MODALITIES)
PEOPLE, MOMENTS, SIDE = 30, 3, 96
FIRST, STEP = 4, 9
"""Frames of a clip that are shown: some three a second."""
STEPS = 60
"""Of an inversion."""
DEVICES = (6, 7, 8)
"""Sensors that the shipped detector was tested on, and not trained on."""


class Shown(NamedTuple):
    """What a person's screen shows, moment by moment.

    Attributes:
        own: the person, on white.
        avatar: the same with the pixels of the avatar of a portrait at rest.
    """

    own: list[Picture]
    avatar: list[Picture]


def shown(predictor: Predictor, who: int, moments: int = MOMENTS, steps: int = STEPS) -> Shown:
    """A portrait at rest becomes an avatar, which then talks as the person does. Seconds."""
    names = human().actions
    person, shot = make_face(who, detail_for(SIDE)), studio(who)
    rows = expression_rows(talk(who, FIRST + STEP * (moments - 1) + 1), names)
    own = []
    for row in rows[FIRST::STEP]:
        actions, gaze = read_expression(row, names)
        own.append(photograph(person, replace(shot, gaze=gaze), SIDE, actions))
    portrait = photograph(person, shot, SIDE)
    state = predictor.invert(portrait.rgb, mask=portrait.alpha, steps=steps, seed=who)
    frames = predictor.animate(state, MotionTrack.of(rows, names=names), camera="source")
    kept = islice(frames, FIRST, None, STEP)
    return Shown(own, [replace(p, rgb=enlarged(f, SIDE)) for p, f in zip(own, kept, strict=True)])


def enlarged(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A picture (S, S, 3) at another size."""
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))


def presented(
    victim: Picture, holder: Person, who: int, moment: int, size: int
) -> dict[str, NDArray[np.uint8]]:
    """The screen in somebody's hands as a device sees it: modality -> crop (size, size) or (.., 3)."""
    seed = derive(who, "screen", moment)
    shot = sample_shot(derive(seed, "scene"), 0.18, 0.12)
    scene = ScreenAttack().scene(photograph(holder, shot, SIDE), victim, shot, seed)
    seen = Sensor.device(DEVICES[seed % len(DEVICES)]).capture(scene, seed).pictures()
    box = face_box(scene)
    return {m: crop_face(x, box, size) for m, x in seen.items()}


@lru_cache(1)
def presentations(seed: int, people: int = PEOPLE) -> dict[str, PadArrays]:
    """What screens show -> all presentations, people x `MOMENTS`. Some 5 s a person."""
    size = configs(load_folder(DETECTOR).recipe)[1].size
    predictor = Predictor.from_folder(load_folder(AVATAR))
    crops: dict[str, list[dict[str, NDArray[np.uint8]]]] = {name: [] for name in Shown._fields}
    for number in range(people):
        who = derive(seed, "replay", number)
        holder = make_face(derive(who, "attacker"), detail_for(SIDE))
        for name, victims in shown(predictor, who)._asdict().items():
            crops[name] += [presented(v, holder, who, k, size) for k, v in enumerate(victims)]
    kind = np.full(people * MOMENTS, "replay")
    subjects = np.array([f"s{n:06d}" for n in range(people)]).repeat(MOMENTS)
    labels = PadLabels(kind, subjects, kind, np.arange(len(kind), dtype=np.uint64))
    return {
        name: PadArrays({m: np.stack([c[m] for c in own]) for m in MODALITIES}, labels)
        for name, own in crops.items()
    }


def replay(seed: int, show: str, people: int = PEOPLE) -> Measured:
    """Which share of the presentations is refused, by cameras that are used; units are people.

    Args:
        seed: of people and screens.
        show: "own" or "avatar".
        people: so many.

    Raises:
        ConfigError: something else to show.
    """
    if show not in Shown._fields:
        raise ConfigError(f"replay shows {show!r}; {' or '.join(Shown._fields)}")
    images = presentations(seed, people)[show]
    folder = load_folder(DETECTOR)
    net, size = restore(folder), configs(folder.recipe)[1].size
    person = np.array([int(s[1:]) for s in images.labels.subjects])
    units = {}
    for subset in SUBSETS:
        name = subset_name(subset)
        odds = live_logits(net, images, subset, size, default_device())
        refused = (odds < folder.facts["thresholds"][name]["logit"]).astype(np.float64)
        units[f"refused_{name}"] = by_cluster(refused, person, people)
    return Measured({k: float(v.mean()) for k, v in units.items()}, units)
