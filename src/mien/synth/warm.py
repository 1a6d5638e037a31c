"""Compiles the kernels of made people and of tri-planes once, so that the first picture does not wait.

python -m mien.synth.warm
"""

from __future__ import annotations

import sys
import time


def warm() -> float:
    """Draws one small picture of every kind; returns the seconds it took."""
    import numpy as np
    import torch

    from mien.render import rasterize
    from mien.synth.attacks import present
    from mien.synth.dressed import signed_distance
    from mien.synth.full_body import make_body, photograph_body, sample_view
    from mien.synth.portraits import portrait
    from mien.synth.poses import sample_pose
    from mien.synth.surveil_batch import surveil_batch

    began = time.perf_counter()
    for size in (32, 96, 160):  # the three levels of detail
        portrait(0, 0, size)
    present(0, "mask_resin", 32, 0)
    surveil_batch(np.zeros((1, 16, 16, 3), np.uint8), 1.0)
    body = make_body(0)
    photograph_body(body, sample_pose(0, "standing"), sample_view(0, 64, 32))
    wear = body.dressed
    signed_distance(wear.points[:4], wear.points, wear.faces, wear.faces)
    rasterize(torch.zeros(1, 3, 3), torch.tensor([[0, 1, 2]], dtype=torch.int32), 8, 8)
    warm_planes()
    return time.perf_counter() - began


def warm_planes() -> None:
    """Draws a tiny tri-plane field; torch draws it where there is no numba."""
    import torch

    from mien.render import PlaneSettings, bake_planes, render_baked
    from mien.render.triplane import PlaneDecoder
    from mien.synth.orbit import orbit_cameras

    decoder = PlaneDecoder(torch.zeros(4, 2), torch.zeros(4), torch.zeros(4, 4), torch.ones(4))
    for axes in ("corrected", "eg3d"):
        settings = PlaneSettings(axes=axes, white_back=True)
        field = bake_planes(torch.zeros(1, 3, 2, 4, 4), decoder, settings)
        render_baked(field, torch.from_numpy(orbit_cameras(0.0)), 4)


if __name__ == "__main__":
    sys.stdout.write(f"kernels of the made people and of tri-planes compiled in {warm():.0f} s\n")
