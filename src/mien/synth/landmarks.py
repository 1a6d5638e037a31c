"""Named points of the shipped human: 68 facial landmarks, COCO's body joints, body parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.body import People

Array = NDArray[Any]  # of floats

LANDMARKS = (
    5738, 5750, 932, 5240, 893, 3696, 920, 918, 732, 7620, 7622, 10364, 7595, 11849,
    7634, 12347, 12335, 3744, 5259, 229, 223, 233, 7006, 6997, 7002, 11867, 10412, 134,
    5063, 291, 297, 5137, 5073, 5072, 11688, 11751, 1088, 1081, 54, 1103, 1096, 1094,
    7795, 6838, 7773, 7780, 7786, 7788, 424, 5354, 456, 455, 7215, 11956, 7184, 7235,
    7241, 492, 486, 480, 498, 469, 474, 7225, 7247, 7266, 523, 519,
)  # fmt: skip
"""Vertex of each landmark in the order of iBUG 300-W (jaw, brows, nose, eyes, lips; from the viewer's left).

Found by ``tools/find_landmarks.py`` from the geometry of the base mesh."""

_NOSE = LANDMARKS[30]
_COCO_BONES = {
    "eye": "eye",
    "ear": "",
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
}
COCO = ("nose", *(f"{side}_{name}" for name in _COCO_BONES for side in ("left", "right")))
"""Names of COCO's 17 keypoints; left and right are the subject's."""

PARTS = (
    "torso", "head", "left_upper_arm", "right_upper_arm", "left_lower_arm", "right_lower_arm", "left_hand",
    "right_hand", "left_upper_leg", "right_upper_leg", "left_lower_leg", "right_lower_leg", "left_foot",
    "right_foot",
)  # fmt: skip
"""Body parts; a vertex belongs to the part of the bone that moves it most."""
_PART_OF = {
    "upper_arm": ("upperarm",),
    "lower_arm": ("lowerarm",),
    "hand": ("wrist", "finger", "metacarpal"),
    "upper_leg": ("upperleg",),
    "lower_leg": ("lowerleg",),
    "foot": ("foot", "toe"),
}
_TRUNK = ("root", "pelvis", "spine", "clavicle", "shoulder", "neck01")


def part_of_bone(bone: str) -> int:
    """Index into `PARTS`."""
    if bone.startswith(_TRUNK):
        return 0
    side = {"L": "left", "R": "right"}.get(bone.rsplit(".", 1)[-1], "")
    for part, stems in _PART_OF.items():
        if bone.startswith(stems):
            return PARTS.index(f"{side}_{part}")
    return 1


def vertex_parts(human: People) -> NDArray[np.uint8]:
    """(V,) index into `PARTS`."""
    of_bone = np.array([part_of_bone(b) for b in human.bones], np.uint8)
    best = human.skin_weight.argmax(1)
    return of_bone[human.skin_bone[np.arange(len(best)), best]]


def coco_keypoints(human: People, vertices: Array, joints: Array) -> Array:
    """COCO's 17 keypoints.

    Args:
        human: the shipped human.
        vertices: (V, 3) posed.
        joints: (J, 3) posed.
    """
    at = {b: k for k, b in enumerate(human.bones)}
    out = [vertices[_NOSE]]
    ears = human.masks["ears"] > 0.5
    for name, bone in _COCO_BONES.items():
        for side, sign in (("L", 1), ("R", -1)):
            if name == "ear":
                out.append(vertices[ears & (human.vertices[:, 0] * sign > 0)].mean(0))
            else:
                out.append(joints[at[f"{bone}.{side}"]])
    return np.stack(out)
