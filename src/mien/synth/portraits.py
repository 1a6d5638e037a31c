"""Heads of made people: one seed is who, another is how they are seen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.synth.body import people
from mien.synth.face import Detail, Person, Picture, detail_for, make_person, render
from mien.synth.head import HeadMesh, build_head
from mien.synth.identity import sample_identity
from mien.synth.landmarks import LANDMARKS
from mien.synth.looks import Shot, sample_looks, sample_shot

_REST = {"eyeWideLeft": 0.25, "eyeWideRight": 0.25}  # the base mesh looks sleepy


@lru_cache(1)
def head_mesh() -> HeadMesh:
    """The head of the shipped human."""
    human = people()
    moves = np.zeros(len(human.vertices), np.float32)
    for side in ("l", "r"):
        index, delta = human.target(f"{side}-ear-scale-incr")
        moves[index] = np.maximum(moves[index], np.linalg.norm(delta, axis=1))
    masks = np.stack([human.masks[k] for k in ("lips", "lids", "ears", "mouth")], 1)
    cards = [
        (human.faces[g], human.uv[human.corners[g]], g.endswith("upper")) for g in human.faces if "lash" in g
    ]
    f = human.faces
    teeth = np.concatenate([f["teeth_upper"], f["teeth_lower"]])
    return build_head(
        human.vertices,
        f["body"],
        (f["eye_l"], f["eye_r"]),
        teeth,
        f["tongue"],
        f["tights"],
        masks,
        moves,
        cards,
        LANDMARKS,
    )


def make_face(seed: int, detail: Detail) -> Person:
    """A person's head: shape, hair, light transfer. O(strands), 0.1 - 0.6 s."""
    human, head = people(), head_mesh()
    identity = sample_identity(seed, frozenset(human.shapes))
    vertices = human.shaped(identity.shape)
    joints = dict(zip(human.bones, human.joints(vertices), strict=True))
    neck = 0.5 * (joints["neck01"] + joints["head"])
    looks = sample_looks(seed, identity.macro)
    return make_person(head, vertices[head.own], looks, neck.astype(np.float32), detail)


def sample_actions(seed: int, strength: float = 1.0) -> dict[str, float]:
    """A natural expression: neutral, smile, surprise, frown, talk, squint, in [0, 1]."""
    rng = np.random.default_rng(derive(seed, "actions"))
    kinds: list[Mapping[str, float]] = [
        {},
        {"mouthSmile": 0.75, "cheekSquint": 0.5, "eyeSquint": 0.25},
        {"browInnerUp": 0.7, "browOuterUp": 0.6, "eyeWide": 0.5, "jawOpen": 0.25},
        {"browDown": 0.7, "mouthFrown": 0.45, "noseSneer": 0.2},
        {"jawOpen": 0.35, "mouthLowerDown": 0.3, "mouthUpperUp": 0.15},
        {"mouthPucker": 0.5, "browInnerUp": 0.2},
    ]
    chosen = kinds[int(rng.choice(len(kinds), p=[0.35, 0.28, 0.09, 0.10, 0.12, 0.06]))]
    level = strength * float(rng.uniform(0.4, 1.0))
    out: dict[str, float] = {}
    known = set(people().actions)
    for stem, value in chosen.items():
        names = [stem] if stem in known else [f"{stem}Left", f"{stem}Right"]
        for name in names:
            out[name] = min(1.0, level * value * float(rng.uniform(0.9, 1.1)))
    return out


def displacement(actions: Mapping[str, float] | None = None) -> NDArray[np.float32]:
    """(V, 3) dm: how far an expression moves the vertices of the head, on top of resting lids."""
    total = dict(_REST)
    for name, value in (actions or {}).items():
        total[name] = min(1.0, total.get(name, 0.0) + value)
    return people().expressed(total)[head_mesh().own].astype(np.float32)


def photograph(
    person: Person,
    shot: Shot,
    size: int,
    actions: Mapping[str, float] | None = None,
    detail: Detail | None = None,
) -> Picture:
    """One picture of a person. Actions in [0, 1] come on top of resting lids."""
    return render(head_mesh(), person, shot, size, displacement(actions), detail)


def portrait(identity: int, nuisance: int, size: int, frontal: bool = False) -> Picture:
    """Picture ``nuisance`` of person ``identity``; for many pictures of one person keep `make_face`.

    Args:
        identity: seed of who.
        nuisance: seed of pose, expression, gaze, light, camera, background, glasses, shirt.
        size: pixels a side.
        frontal: no turn of the head.
    """
    seed = derive(identity, "nuisance", nuisance)
    person = make_face(identity, detail_for(size))
    return photograph(person, sample_shot(seed, frontal=frontal), size, sample_actions(seed))
