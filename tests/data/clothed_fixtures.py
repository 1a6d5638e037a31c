"""Small copies of RenderPeople, MVP and THuman2.0 in their owners' layouts; no reader is imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

SIDE, JOINTS = 32, 24
FACING = ((128, 128, 0), (128, 128, 255))  # away from the viewer, to the viewer
NORMAL = (158, 128, 255)  # nearly to the viewer


def write_render_people(
    root: Path, names: list[str], rotations: int = 2, actions: int = 1, samples: str = "pt"
) -> Path:
    """``SYN``, ``SAMPLES`` and ``SMPL`` of some subjects."""
    rng = np.random.default_rng(0)
    for name in names:
        for action in range(actions):
            folder = root / "SYN" / name / f"{action:03d}"
            for kind in ("RENDER", "MASK", "NORMAL", "PARAM"):
                (folder / kind).mkdir(parents=True)
            for r in range(rotations):
                _write_view(folder, f"{r:03d}", rng)
        write_samples(root / "SAMPLES", name, rng, samples)
        smpl = root / "SMPL" / name
        smpl.mkdir(parents=True)
        np.savez(smpl / "param.npz", beta=np.zeros((1, 10)))
        (smpl / "da_pose.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    return root


def _write_view(folder: Path, rotation: str, rng: np.random.Generator) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:28, 12:20] = 255
    image = rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    normal = np.where(mask[..., None] > 0, np.array(NORMAL, np.uint8), np.uint8(0))
    for kind, picture in (("RENDER", image), ("MASK", mask), ("NORMAL", normal)):
        Image.fromarray(picture).save(folder / kind / f"{rotation}.png")
    np.savez(
        folder / "PARAM" / f"{rotation}.npz",
        ortho_ratio=0.4,
        scale=100.0,
        center=np.array([0.1, 0.9, 0.0]),
        R=np.eye(3),
        jointT=np.tile(np.eye(4), (JOINTS, 1, 1)),
        pose=np.zeros(72),
    )


def write_samples(folder: Path, name: str, rng: np.random.Generator, kind: str, count: int = 40) -> None:
    """The points of a subject as ``.pt`` (a dictionary of tensors) or ``.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    table = {}
    for part, rows in (("surface", count), ("perturb", count), ("bbox", count // 4)):
        table[f"{part}_points"] = rng.normal(size=(rows, 3)).astype(np.float32)
        table[f"{part}_weight"] = rng.dirichlet(np.ones(JOINTS), rows).astype(np.float32)
        if part != "surface":
            table[f"{part}_sdf"] = rng.normal(size=(rows, 1)).astype(np.float32)
    table["surface_normal"] = np.tile(np.array([0, 0, 1], np.float32), (count, 1))
    if kind == "npz":
        np.savez(folder / f"{name}.npz", **table)
    else:
        torch.save({k: torch.from_numpy(v) for k, v in table.items()}, folder / f"{name}.pt")


def write_thuman(root: Path, scans: list[str], angles: tuple[int, ...] = (0, 120)) -> Path:
    """ICON's rendered layout; scans are listed in ``all.txt``."""
    (root / "thuman2" / "bodies").mkdir(parents=True)
    (root / "thuman2" / "all.txt").write_text("".join(f"{s}\n" for s in scans))
    rng = np.random.default_rng(1)
    for scan in scans:
        folder = root / "thuman2_36views" / scan
        for kind in ("render", "normal_F", "normal_B", "T_normal_F", "T_normal_B", "calib", "vis"):
            (folder / kind).mkdir(parents=True)
        for angle in angles:
            alpha = np.zeros((SIDE, SIDE, 1), np.uint8)
            alpha[4:28, 12:20] = 255
            for k, kind in enumerate(("render", "normal_F", "normal_B", "T_normal_F", "T_normal_B")):
                color = (
                    rng.integers(0, 255, (SIDE, SIDE, 3))
                    if k == 0
                    else np.full((SIDE, SIDE, 3), FACING[k % 2])
                )
                picture = np.concatenate([color.astype(np.uint8), alpha], -1)
                Image.fromarray(picture).save(folder / kind / f"{angle:03d}.png")
            rows = np.concatenate([np.eye(4), np.diag([0.01, -0.01, 0.01, 1])])
            np.savetxt(folder / "calib" / f"{angle:03d}.txt", rows)
        np.savez(
            root / "thuman2" / "bodies" / f"{scan}.npz",
            vertices=np.eye(3, dtype=np.float32),
            faces=np.array([[0, 1, 2]]),
        )
    return root
