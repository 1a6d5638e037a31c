from __future__ import annotations

import pytest

from mien.synth.warm import warm_planes


def test_tri_planes_are_compiled_for_what_the_avatar_draws():
    """After the warm-up a picture with either set of planes compiles nothing."""
    kernels = pytest.importorskip("mien.render.plane_kernels")
    warm_planes()
    before = [len(k.signatures) for k in (kernels.raw_density, kernels.march_planes)]
    assert min(before) > 0
    import torch

    from mien.render import PlaneSettings, bake_planes, render_baked
    from mien.synth.orbit import orbit_cameras
    from tests.render.planes import ellipsoid

    planes, decoder = ellipsoid(channels=4, hidden=8, side=8)
    for axes in ("corrected", "eg3d"):
        field = bake_planes(planes, decoder, PlaneSettings(axes=axes, white_back=True))
        assert bool(render_baked(field, torch.from_numpy(orbit_cameras(0.2)), 8).opacity.any())
    assert [len(k.signatures) for k in (kernels.raw_density, kernels.march_planes)] == before
