"""A clothed person as a file: shape, skin, colours, and what is known of each vertex."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError, WeightsError
from mien.core.io import new_file
from mien.engine.safe import read_tensors
from mien.methods.car.skinning import blended_matrices, transform_points
from mien.methods.car.texture import Source
from mien.render.mesh_io import KINDS, Mesh, checked_mesh, linear_rgb, save_mesh
from mien.render.skinned import Animation, save_skinned_glb
from mien.synth.skinning import chain

_VERSION = 1
_TENSORS: dict[str, tuple[int | str, ...]] = {
    "canonical": ("V", 3), "posed": ("V", 3), "faces": ("T", 3), "weights": ("V", "J"),
    "joints": ("J", 3), "parents": ("J",), "transforms": ("J", 4, 4),
    "body": ("B", 3), "body_faces": ("S", 3),
    "colors": ("V", 3), "provenance": ("V",), "uncertainty": ("V",),
}  # fmt: skip
_INTEGERS = {
    "faces": torch.int32,
    "parents": torch.int32,
    "body_faces": torch.int32,
    "provenance": torch.uint8,
}


@dataclass(frozen=True, eq=False)
class Avatar:
    """A person who can take any pose. Checked when made.

    Attributes:
        canonical: (V, 3) metres, canonical pose, y up.
        posed: (V, 3) metres, in the pose of the picture.
        faces: (T, 3) int32 of both, counter-clockwise.
        weights: (V, J) skinning weights, rows sum to 1.
        joints: (J, 3) metres, heads of the bones in the canonical pose.
        parents: (J,) int32, -1 = root, parents first.
        transforms: (J, 4, 4) of the bones, canonical pose -> picture.
        body: (B, 3) metres, the naked body in the canonical pose.
        body_faces: (S, 3) int32.
        colors: (V, 3) sRGB in [0, 1].
        provenance: (V,) uint8 `Source`.
        uncertainty: (V,) in [0, 1], larger = less is known.
        names: of the J joints.

    Raises:
        ShapeError: a tensor of another shape or type, or an index out of range.
    """

    canonical: Tensor
    posed: Tensor
    faces: Tensor
    weights: Tensor
    joints: Tensor
    parents: Tensor
    transforms: Tensor
    body: Tensor
    body_faces: Tensor
    colors: Tensor
    provenance: Tensor
    uncertainty: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {"J": len(self.names)}
        for name, shape in _TENSORS.items():
            _check_tensor(name, getattr(self, name), shape, sizes)
        for name, count in (("faces", sizes["V"]), ("body_faces", sizes["B"])):
            value = getattr(self, name)
            if len(value) and not 0 <= int(value.min()) <= int(value.max()) < count:
                raise ShapeError(f"{name} points at vertices outside 0 .. {count - 1}")
        above = self.parents.tolist()
        if any(not -1 <= p < j for j, p in enumerate(above)):
            raise ShapeError(f"parents {above} must come before their children, -1 is a root")
        if not bool((self.weights >= 0).all() and ((self.weights.sum(1) - 1).abs() < 1e-3).all()):
            raise ShapeError("skinning weights must not be negative, and each vertex's must sum to 1")
        if len(self.provenance) and int(self.provenance.max()) > max(Source):
            raise ShapeError(f"provenance is 0 .. {max(Source):d}, got {int(self.provenance.max())}")

    def mesh(self, shape: Literal["canonical", "posed"] = "canonical") -> Mesh:
        """One of the two stored shapes, with its colours in linear light."""
        return self._mesh(getattr(self, shape))

    def repose(self, transforms: Tensor) -> Mesh:
        """The person in another pose, x' = sum_j w_j T_j [x; 1]. O(V J).

        Args:
            transforms: (J, 4, 4) of the bones from the canonical pose (`bone_transforms`, or ``transforms``).

        Raises:
            ShapeError: another shape.
        """
        count = len(self.names)
        if transforms.shape != (count, 4, 4):
            raise ShapeError(f"transforms must be ({count}, 4, 4), got {tuple(transforms.shape)}")
        blended = blended_matrices(self.weights[None], transforms[None].to(self.weights))[0]
        return self._mesh(transform_points(blended, self.canonical))

    def bone_transforms(self, rotations: Tensor, translation: Tensor | None = None) -> Tensor:
        """(J, 4, 4) of rotations about the joints, then a move of the whole.

        Args:
            rotations: (J, 3, 3) in the axes of the canonical pose; each also turns its descendants.
            translation: (3,) metres.

        Raises:
            ConfigError: another shape.
        """
        out = chain(self.joints[None], rotations[None].to(self.joints), self.parents.tolist())[0].clone()
        if translation is not None:
            out[:, :3, 3] += translation.to(out)
        return out

    def photo_motion(self) -> Animation:
        """From the canonical pose (0 s) to the picture's (1 s).

        R_j is the rotation of T_parent^-1 T_j, the move T_0 h_0 - h_0 of the root's head h_0.
        """
        above = self.parents.tolist()
        eye = torch.eye(4).to(self.transforms)
        up = torch.stack([self.transforms[p] if p >= 0 else eye for p in above])
        turns = torch.linalg.solve(up, self.transforms)[:, :3, :3]
        move = self.transforms[0, :3, :3] @ self.joints[0] + self.transforms[0, :3, 3] - self.joints[0]
        rest = torch.eye(3).to(turns).expand_as(turns)
        return Animation([0.0, 1.0], torch.stack([rest, turns]), torch.stack([torch.zeros_like(move), move]))

    def export(
        self,
        path: str | Path,
        shape: Literal["canonical", "posed"] = "canonical",
        animations: Mapping[str, Animation] | None = None,
    ) -> Path:
        """Writes the mesh with its colours: .glb with skeleton and skin, .obj or .ply without.

        Args:
            path: its ending says the format.
            shape: a GLB of the canonical one can move; it holds "photo" (`photo_motion`) and ``animations``.
            animations: name -> motion.

        Raises:
            ConfigError: another ending, or what it cannot hold.
            MienError: the file cannot be written.
        """
        path, mesh = Path(path), self.mesh(shape)
        kind = path.suffix.lower().removeprefix(".")
        if kind not in KINDS:
            raise ConfigError(f"{path}: an avatar is written as .{', .'.join(KINDS)}")
        if kind != "glb" or shape == "posed":
            if animations:
                raise ConfigError(f"{path}: animations need a .glb of the canonical shape")
            return save_mesh(path, *mesh[:2], colors=mesh.colors)
        motions = {"photo": self.photo_motion(), **(animations or {})}
        return save_skinned_glb(
            path, mesh.vertices, mesh.faces, names=self.names, parents=self.parents.tolist(),
            heads=self.joints, weights=self.weights, colors=mesh.colors, animations=motions,
        )  # fmt: skip

    def to(self, device: torch.device | str) -> Avatar:
        """The avatar on another device."""
        held: dict[str, Any] = {name: getattr(self, name).to(device) for name in _TENSORS}
        return replace(self, **held)

    def save(self, path: str | Path) -> Path:
        """Writes a safetensors file, whole or not at all; read by `load_avatar`."""
        from safetensors.torch import save_file

        plain = {name: getattr(self, name).detach().cpu().contiguous().clone() for name in _TENSORS}
        facts = {"version": _VERSION, "names": self.names}
        with new_file(path) as part:
            save_file(plain, str(part), {"clothed": json.dumps(facts)})
        return Path(path)

    def _mesh(self, vertices: Tensor) -> Mesh:
        return checked_mesh(vertices, self.faces, linear_rgb(self.colors.detach().cpu().numpy()))


def _check_tensor(name: str, value: Tensor, shape: tuple[int | str, ...], sizes: dict[str, int]) -> None:
    """Shape, type and finiteness of a tensor; the first use of a letter sets its size.

    Raises:
        ShapeError: one of them is wrong.
    """
    want = _INTEGERS.get(name, torch.float32)
    if value.dtype != want:
        raise ShapeError(f"{name} is {value.dtype}, not {want}")
    got = tuple(value.shape)
    if len(got) == len(shape):
        for letter, size in zip(shape, got, strict=True):
            if isinstance(letter, str):
                sizes.setdefault(letter, size)
    asked = tuple(sizes.get(s, s) if isinstance(s, str) else s for s in shape)
    if got != asked:
        raise ShapeError(f"{name} has the shape {got}, not {asked}")
    if not bool(value.isfinite().all()):
        raise ShapeError(f"{name} holds values that are no numbers")


def load_avatar(path: str | Path) -> Avatar:
    """Reads what `Avatar.save` wrote. O(size).

    Raises:
        WeightsError: missing, a pickle, damaged, or no avatar.
    """
    path = Path(path)
    text, tensors = read_tensors(path, "clothed")
    try:
        facts = json.loads(text)
        if facts["version"] != _VERSION:
            found = facts["version"]
            raise WeightsError(
                f"{path}: an avatar of version {found}, not {_VERSION}; make it again from the picture"
            )
        held: dict[str, Any] = {name: tensors[name] for name in _TENSORS}
        return Avatar(**held, names=tuple(str(n) for n in facts["names"]))
    except (ValueError, TypeError, KeyError, RecursionError, ShapeError) as error:
        raise WeightsError(
            f"{path}: not a clothed avatar ({error}); make it again from the picture"
        ) from None
