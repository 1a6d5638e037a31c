"""Planes that are moved to where a face's parts are."""

from __future__ import annotations

import pytest
import torch

from mien.methods.otavatar import plane_warp as warps
from mien.methods.otavatar.generator import SMALL, TriPlaneGenerator
from mien.methods.otavatar.plane_warp import PlaneWarp


def warped(offset: torch.Tensor) -> PlaneWarp:
    """A warp that says the same for every code: landmarks off by (68, 3), units of the cube."""
    warp = PlaneWarp(8)
    warp.mean.copy_(torch.rand(68, 3, generator=torch.Generator().manual_seed(0)) * 0.4 - 0.2)
    with torch.no_grad():
        warp.places.bias.copy_(offset.flatten() * 2 / warps.REACH)
    return warp


def test_the_field_is_the_written_one() -> None:
    """Loop over planes, cells and landmarks."""
    off = 0.02 * torch.randn(68, 3, generator=torch.Generator().manual_seed(1))
    warp = warped(off)
    u = warp.field(torch.zeros(1, 8), warps.CELLS)[0]
    m, ell = 2 * warp.mean, 2 * (warp.mean + off)
    for k, pair in enumerate(((0, 1), (0, 2), (2, 1))):
        for x, y in ((3, 20), (16, 16), (25, 12)):
            p = torch.tensor([(2 * x + 1) / warps.CELLS - 1, (2 * y + 1) / warps.CELLS - 1])
            top, bottom = torch.zeros(2), torch.tensor(warps.FADE)
            for j in range(68):
                there, rest = ell[j, list(pair)], m[j, list(pair)]
                weight = torch.exp(-(p - there).square().sum() / (2 * warps.SPREAD**2))
                top, bottom = top + weight * (rest - there), bottom + weight
            torch.testing.assert_close(u[k, y, x], top / bottom, atol=1e-5, rtol=1e-4)


def test_what_lies_at_the_mean_landmarks_comes_to_the_landmarks() -> None:
    """A dot drawn at the mean place moves to the right along x, by nearly as much as all landmarks do."""
    warp = warped(torch.tensor([[0.0625, 0.0, 0.0]]).expand(68, 3))
    at = warp.mean[30]
    centres = (torch.arange(64) + 0.5) / 64 - 0.5
    dot = torch.exp(-((centres[None] - at[0]) ** 2 + (centres[:, None] - at[1]) ** 2) / (2 * 0.02**2))
    planes = torch.zeros(1, 3, 1, 64, 64)
    planes[0, 0, 0] = dot
    with torch.no_grad():
        moved = warp(planes, torch.zeros(1, 8))[0, 0, 0]
    right = (moved.sum(0) * centres).sum() / moved.sum() - at[0]
    assert right.item() == pytest.approx(0.0625, abs=0.012)
    assert abs(((moved.sum(1) * centres).sum() / moved.sum() - at[1]).item()) < 0.005


def test_landmarks_alone_teach_the_places() -> None:
    torch.manual_seed(0)
    warp = warped(torch.zeros(68, 3))
    w = torch.randn(64, 8)
    points = warp.mean + (w @ (0.02 * torch.randn(8, 3)))[:, None]
    first = warp.misses(w, points).mean().item()
    assert first == pytest.approx(2 * (points - warp.mean).norm(dim=-1).mean().item(), rel=1e-5)
    optimizer = torch.optim.Adam(warp.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        warp.misses(w, points).mean().backward()
        optimizer.step()
    assert warp.misses(w, points).mean().item() < 0.2 * first
    warp.fit(w, points)
    assert warp.misses(w, points).mean().item() < 0.001


def test_a_generator_with_a_warp_starts_as_one_without() -> None:
    torch.manual_seed(0)
    plain = TriPlaneGenerator(**SMALL)
    bent = TriPlaneGenerator(**SMALL, warped=True)
    bent.load_state_dict(plain.state_dict(), strict=False)
    ws = torch.randn(2, plain.num_ws, 128)
    torch.testing.assert_close(bent.planes(ws), plain.planes(ws), atol=1e-4, rtol=1e-4)
