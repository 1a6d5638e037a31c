"""One interface for parametric bodies: the shipped human, anny, a user's SMPL / SMPL-X file, capsules.

All answer in metres, y up; a pose is rotations about the bones' heads in world axes of the rest pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError
from mien.synth.body import BodyOutput, People, people
from mien.synth.skinning import blend, carry, chain, moved

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]


class BodyModel(Protocol):
    """A parametric, posable body.

    Attributes:
        faces: (T, 3) triangles.
        parents: parent of each joint, -1 for the root, parents first.
        lbs_weights: (V, J) skinning weights, rows sum to 1.
        shape_names: what the columns of ``shape`` are.
        expression_names: what the columns of ``expression`` are.
    """

    @property
    def faces(self) -> Index: ...  # noqa: D102

    @property
    def parents(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def lbs_weights(self) -> Array: ...  # noqa: D102

    @property
    def shape_names(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def expression_names(self) -> tuple[str, ...]: ...  # noqa: D102

    def forward(
        self,
        shape: Tensor,
        pose: Tensor | None = None,
        expression: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> BodyOutput:
        """A batch of bodies, differentiable.

        Args:
            shape: (B, S).
            pose: (B, J, 3, 3) rotations; None: rest.
            expression: (B, E); None: neutral.
            translation: (B, 3) metres.
        """
        ...


def dense_weights(bone: Index, weight: Array, joints: int) -> Array:
    """(V, J) from the (V, K) pairs of bone and weight."""
    out = np.zeros((len(bone), joints), np.float32)
    np.add.at(out, (np.arange(len(bone))[:, None], bone), weight)
    return out


def _columns(values: Tensor | None, names: Sequence[str], what: str) -> dict[str, Tensor]:
    if values is None:
        return {}
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ConfigError(f"{what} is {tuple(values.shape)}, not (B, {len(names)})")
    return {name: values[:, k] for k, name in enumerate(names)}


class PeopleBody:
    """The shipped human behind `BodyModel`.

    Args:
        shape_names: columns of ``shape``; default every shape target.
        expression_names: columns of ``expression``; default the 52 ARKit actions.
        group: which triangles are the faces.
    """

    def __init__(
        self,
        shape_names: Sequence[str] | None = None,
        expression_names: Sequence[str] | None = None,
        group: str = "body",
    ) -> None:
        self.human: People = people()
        self.shape_names = tuple(self.human.shapes if shape_names is None else shape_names)
        self.expression_names = tuple(self.human.actions if expression_names is None else expression_names)
        self.faces: Index = self.human.faces[group]
        self.parents = self.human.parents
        self.lbs_weights = dense_weights(
            self.human.skin_bone, self.human.skin_weight.astype(np.float32), len(self.parents)
        )

    def forward(
        self,
        shape: Tensor,
        pose: Tensor | None = None,
        expression: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> BodyOutput:
        """See `BodyModel.forward`."""
        return self.human.forward(
            _columns(shape, self.shape_names, "shape"),
            _columns(expression, self.expression_names, "expression"),
            pose,
            translation,
        )


class AnnyBody:
    """`anny` at full resolution (needs ``pip install anny``); z up is turned to y up.

    Its phenotypes (gender, age, muscle, weight, height, proportions, in [0, 1]) are the shape, its ARKit
    actions the expression.

    Raises:
        ConfigError: anny is not installed.
    """

    _TURN = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))

    def __init__(self) -> None:
        try:
            import anny
        except ImportError as error:
            raise ConfigError("AnnyBody needs anny: pip install anny==0.6.2") from error
        self.model = anny.Anny(facial_actions="all").float()
        self.faces: Index = self.model.get_triangular_faces().cpu().numpy().astype(np.int32)
        self.parents = tuple(int(p) for p in self.model.bone_parents)
        self.lbs_weights = dense_weights(
            self.model.vertex_bone_indices.cpu().numpy(),
            self.model.vertex_bone_weights.cpu().numpy(),
            len(self.parents),
        )
        self.shape_names = tuple(self.model.phenotype_labels)
        self.expression_names = tuple(self.model.facial_action_labels)

    def forward(
        self,
        shape: Tensor,
        pose: Tensor | None = None,
        expression: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> BodyOutput:
        """See `BodyModel.forward`."""
        out = self.model(
            phenotype_kwargs=_columns(shape, self.shape_names, "shape"),
            facial_actions=_columns(expression, self.expression_names, "expression"),
        )
        turn = shape.new_tensor(self._TURN)
        rest = out["rest_vertices"] @ turn.T
        heads = out["rest_bone_heads"] @ turn.T
        transforms = moved(chain(heads, pose, self.parents), translation)
        bone = self.model.vertex_bone_indices.long()
        posed = blend(rest, transforms, bone, self.model.vertex_bone_weights)
        return BodyOutput(rest, posed, carry(heads, transforms), transforms)


class SmplBody:
    """A user's SMPL, SMPL-H or SMPL-X model from its npz (never shipped; get it from its owners).

    vertices = W(v_template + shapedirs beta + posedirs vec(R_1.. - I), J_regressor .., pose, weights)
    (SMPL, equations 2-10). Rotations are about joints in world axes of the rest pose, as in SMPL.

    Args:
        path: ``.npz`` with v_template, shapedirs, posedirs, J_regressor, weights, kintree_table, f.
        betas: how many shape components.
        expressions: how many expression components (SMPL-X keeps them after the first 300).

    Raises:
        DataError: not such a file, or it holds pickled objects where arrays should be.
    """

    _NEEDED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")

    def __init__(self, path: Path | str, betas: int = 10, expressions: int = 0) -> None:
        table = self._read(Path(path))
        self._template = torch.as_tensor(table["v_template"], dtype=torch.float32)
        dirs = torch.as_tensor(table["shapedirs"], dtype=torch.float32)
        first = 300 if dirs.shape[2] >= 400 else betas
        if dirs.shape[2] < betas or (expressions and dirs.shape[2] < first + expressions):
            raise DataError(f"{path}: {dirs.shape[2]} components, {betas} + {expressions} are wanted")
        self._shape_dirs, self._expression_dirs = dirs[..., :betas], dirs[..., first : first + expressions]
        count = table["weights"].shape[1]
        pose_dirs = torch.as_tensor(table["posedirs"], dtype=torch.float32)
        self._pose_dirs = pose_dirs.reshape(len(self._template), 3, -1)
        if self._pose_dirs.shape[2] != 9 * (count - 1):
            raise DataError(f"{path}: posedirs has {self._pose_dirs.shape[2]} columns, not {9 * (count - 1)}")
        self._regressor = torch.as_tensor(table["J_regressor"], dtype=torch.float32)
        self.lbs_weights: Array = table["weights"].astype(np.float32)
        parents = table["kintree_table"][0].astype(np.int64)
        self.parents = (-1, *(int(p) for p in parents[1:]))
        self.faces: Index = table["f"].astype(np.int32)
        self.shape_names = tuple(f"beta{k}" for k in range(betas))
        self.expression_names = tuple(f"psi{k}" for k in range(expressions))

    def _read(self, path: Path) -> dict[str, Array]:
        if path.suffix != ".npz":
            raise DataError(
                f"{path}: not an .npz; .pkl models run code when opened: convert yours to npz first"
            )
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = [k for k in self._NEEDED if k not in file.files]
                if missing:
                    raise DataError(f"{path}: no {missing[0]} in it; is it an SMPL or SMPL-X model?")
                return {k: file[k] for k in self._NEEDED}
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except ValueError as error:
            raise DataError(f"{path}: an entry is not a plain array ({error})") from error

    def forward(
        self,
        shape: Tensor,
        pose: Tensor | None = None,
        expression: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> BodyOutput:
        """See `BodyModel.forward`."""
        _columns(shape, self.shape_names, "shape")
        rest = self._template.to(shape) + torch.einsum("vck,bk->bvc", self._shape_dirs.to(shape), shape)
        if expression is not None:
            _columns(expression, self.expression_names, "expression")
            rest = rest + torch.einsum("vck,bk->bvc", self._expression_dirs.to(shape), expression)
        heads = torch.einsum("jv,bvc->bjc", self._regressor.to(shape), rest)
        transforms = moved(chain(heads, pose, self.parents), translation)
        if pose is not None:
            feature = (pose[:, 1:] - torch.eye(3).to(pose)).flatten(1)
            rest = rest + torch.einsum("vck,bk->bvc", self._pose_dirs.to(shape), feature)
        mixed = torch.einsum("vj,bjkl->bvkl", torch.as_tensor(self.lbs_weights).to(shape), transforms)
        posed = (mixed[..., :3, :3] @ rest[..., None])[..., 0] + mixed[..., :3, 3]
        return BodyOutput(rest, posed, carry(heads, transforms), transforms)


Point = tuple[float, float, float]
Capsule = tuple[str, str | None, Point, Point, float]  # name, parent, ends and radius in metres
_TRUNK: tuple[Capsule, ...] = (
    ("pelvis", None, (0.0, 0.95, 0.0), (0.0, 1.05, 0.0), 0.13),
    ("spine", "pelvis", (0.0, 1.05, 0.0), (0.0, 1.25, 0.0), 0.13),
    ("chest", "spine", (0.0, 1.25, 0.0), (0.0, 1.38, 0.0), 0.14),
    ("neck", "chest", (0.0, 1.44, 0.0), (0.0, 1.54, 0.0), 0.05),
    ("head", "neck", (0.0, 1.60, 0.0), (0.0, 1.68, 0.0), 0.10),
)
_LIMBS: tuple[Capsule, ...] = (  # of the left side; a parent among them is of the same side
    ("upper_arm", "chest", (0.19, 1.38, 0.0), (0.45, 1.38, 0.0), 0.05),
    ("lower_arm", "upper_arm", (0.45, 1.38, 0.0), (0.72, 1.38, 0.0), 0.04),
    ("upper_leg", "pelvis", (0.10, 0.92, 0.0), (0.11, 0.50, 0.0), 0.08),
    ("lower_leg", "upper_leg", (0.11, 0.50, 0.0), (0.11, 0.09, 0.0), 0.06),
    ("foot", "lower_leg", (0.11, 0.05, 0.0), (0.11, 0.04, 0.15), 0.045),
)


def _limb(limb: Capsule, side: str, sign: float) -> Capsule:
    name, parent, a, b, r = limb
    sided = {c[0] for c in _LIMBS}
    above = f"{parent}_{side}" if parent in sided else parent
    return f"{name}_{side}", above, (sign * a[0], *a[1:]), (sign * b[0], *b[1:]), r


_CAPSULES: tuple[Capsule, ...] = (
    *_TRUNK,
    *(_limb(c, side, sign) for side, sign in (("left", 1.0), ("right", -1.0)) for c in _LIMBS),
)


class CapsuleBody:
    """Fifteen capsules with an exact signed distance: no data, for tests.

    ``shape`` has two columns: log length and log radius, 0 at rest.
    """

    shape_names = ("log_length", "log_radius")
    expression_names: tuple[str, ...] = ()

    def __init__(self, around: int = 12, along: int = 9) -> None:
        self.names = tuple(c[0] for c in _CAPSULES)
        self.parents = tuple(-1 if c[1] is None else self.names.index(c[1]) for c in _CAPSULES)
        self._a = torch.tensor([c[2] for c in _CAPSULES])
        self._b = torch.tensor([c[3] for c in _CAPSULES])
        self._r = torch.tensor([c[4] for c in _CAPSULES])
        unit, faces = _unit_capsule(around, along)
        count = len(self.names)
        self._axis = torch.as_tensor(unit[:, 0], dtype=torch.float32).repeat(count)
        self._round = torch.as_tensor(unit[:, 1:], dtype=torch.float32)
        self._bone = torch.arange(count).repeat_interleave(len(unit))
        self.faces: Index = np.concatenate([faces + k * len(unit) for k in range(count)]).astype(np.int32)
        self.lbs_weights = np.eye(count, dtype=np.float32)[self._bone.numpy()]

    def capsules(self, shape: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ends (B, 15, 3) twice and radii (B, 15) of the capsules at rest."""
        _columns(shape, self.shape_names, "shape")
        length, radius = shape.exp().unbind(1)
        ends = [e.to(shape) * length[:, None, None] for e in (self._a, self._b)]
        return ends[0], ends[1], self._r.to(shape) * radius[:, None]

    def forward(
        self,
        shape: Tensor,
        pose: Tensor | None = None,
        expression: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> BodyOutput:
        """See `BodyModel.forward`."""
        if expression is not None and expression.shape[1]:
            raise ConfigError("CapsuleBody has no expressions")
        a, b, r = self.capsules(shape)
        frame = _frames(b - a)
        local = torch.einsum("bjck,vk->bjvc", frame, self._round.to(shape)) * r[..., None, None]
        axis = self._axis.to(shape).reshape(len(self.names), -1)
        rest = (a[:, :, None] + axis[None, :, :, None] * (b - a)[:, :, None] + local).flatten(1, 2)
        transforms = moved(chain(a, pose, self.parents), translation)
        posed = blend(rest, transforms, self._bone[:, None], torch.ones(rest.shape[1], 1).to(shape))
        return BodyOutput(rest, posed, carry(a, transforms), transforms)

    def sdf(self, points: Tensor, shape: Tensor, transforms: Tensor, smooth: float = 0.0) -> Tensor:
        """Signed distance (B, N) of points (B, N, 3) to the posed union, metres, negative inside. O(B N 15).

        Args:
            points: metres.
            shape: (B, 2).
            transforms: (B, 15, 4, 4) of `forward`.
            smooth: 0: exact outside; else -smooth log sum exp(-d / smooth).
        """
        a, b, r = self.capsules(shape)
        ends = [carry(e, transforms)[:, None] for e in (a, b)]
        along, to = ends[1] - ends[0], points[:, :, None] - ends[0]
        t = ((to * along).sum(-1) / (along**2).sum(-1)).clamp(0, 1)
        d = (to - t[..., None] * along).norm(dim=-1) - r[:, None]
        return d.amin(-1) if smooth == 0 else -smooth * torch.logsumexp(-d / smooth, -1)


def _frames(axis: Tensor) -> Tensor:
    """Orthonormal frames (.., 3, 3) whose first column is the axis."""
    x = axis / axis.norm(dim=-1, keepdim=True)
    helper = torch.where(x[..., :1].abs() < 0.9, x.new_tensor([1.0, 0, 0]), x.new_tensor([0, 1.0, 0]))
    y = torch.cross(x, helper, dim=-1)
    y = y / y.norm(dim=-1, keepdim=True)
    return torch.stack([x, y, torch.cross(x, y, dim=-1)], -1)


def _unit_capsule(around: int, along: int) -> tuple[Array, Index]:
    """Vertices (t along the axis, offset in radii (3)) and outward faces of a capsule."""
    rings: list[tuple[float, float, float]] = []  # t, axial offset, ring radius
    for k in range(along):
        angle = np.pi * (k + 0.5) / along
        rings.append((0.0 if angle < np.pi / 2 else 1.0, -np.cos(angle), np.sin(angle)))
    angles = 2 * np.pi * np.arange(around) / around
    rows = [(t, x, r * np.cos(a), r * np.sin(a)) for t, x, r in rings for a in angles]
    rows += [(0.0, -1.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0)]
    faces: list[tuple[int, int, int]] = []
    for k in range(along - 1):
        for q in range(around):
            a, b = k * around + q, k * around + (q + 1) % around
            faces += [(a, b, a + around), (b, b + around, a + around)]
    first, last = along * around, along * around + 1
    for q in range(around):
        n = (q + 1) % around
        faces += [(first, n, q), (last, (along - 1) * around + q, (along - 1) * around + n)]
    return np.array(rows), np.array(faces, np.int32)
