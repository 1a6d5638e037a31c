"""Planes that are moved to where a face's parts are."""

from __future__ import annotations

import math

import pytest
import torch

from mien.methods.otavatar import plane_warp as warps
from mien.methods.otavatar.generator import SMALL, TriPlaneGenerator
from mien.methods.otavatar.plane_warp import PlaneWarp


def warped(offset: torch.Tensor) -> PlaneWarp:
    """A warp that says the same for every code: landmarks off by (68, 3), units of the cube."""
    warp = PlaneWarp(8)
    places = torch.rand(68, 3, generator=torch.Generator().manual_seed(0)) * 0.4 - 0.2
    places[list(warps.LOWER), 1] = places[list(warps.UPPER), 1] - 0.05
    warp.mean.copy_(places)
    with torch.no_grad():
        warp.places.bias.copy_(offset.flatten() * 2 / warps.REACH)
    return warp


def kernel(p: torch.Tensor, q: torch.Tensor) -> float:
    """k of two places, one number at a time."""
    value = 1.0
    for d in (p - q).abs().tolist():
        a = math.sqrt(3) * d / warps.SPREAD
        value *= (1 + a) * math.exp(-a)
    return value


def test_the_field_is_the_written_one() -> None:
    """Loop over planes, cells and landmarks."""
    off = 0.02 * torch.randn(68, 3, generator=torch.Generator().manual_seed(1))
    warp = warped(off)
    u = warp.field(torch.zeros(1, 8), 64)[0]
    m, ell = 2 * warp.mean, 2 * warps.kept_apart((warp.mean + off)[None], warps.GAP)[0]
    for k, pair in enumerate(([0, 1], [0, 2], [2, 1])):
        there, rest = ell[:, pair], m[:, pair]
        near = torch.tensor([[kernel(a, b) for b in there] for a in there])
        pull = torch.linalg.solve(near + warps.RIDGE * torch.eye(68), rest - there)
        for x, y in ((6, 40), (32, 32), (50, 24)):
            p = torch.tensor([(2 * x + 1) / 64 - 1, (2 * y + 1) / 64 - 1])
            expected = sum(kernel(p, q) * c for q, c in zip(there, pull, strict=True))
            torch.testing.assert_close(u[k, y, x], expected, atol=5e-4, rtol=1e-3)


def test_lips_part() -> None:
    """Landmarks that lie near each other and go apart take what is drawn at them along."""
    lips = torch.tensor([[0.1 * k - 0.1, side * 0.02, 0.3] for k in range(3) for side in (1, -1)])
    warp = PlaneWarp(8)
    warp.mean[:6], warp.mean[6:] = lips, torch.tensor([0.0, 0.4, 0.0])
    off = torch.zeros(68, 3)
    off[1:6:2, 1] = -0.06  # the lower lip falls, four times the mouth's height at rest
    with torch.no_grad():
        warp.places.bias.copy_(off.flatten() * 2 / warps.REACH)
    centres = (torch.arange(128) + 0.5) / 128 - 0.5
    inside = (centres.abs() < 0.02).float()[:, None].expand(-1, 128)
    planes = torch.zeros(1, 3, 1, 128, 128)
    planes[0, 0, 0] = inside
    with torch.no_grad():
        moved = warp(planes, torch.zeros(1, 8))[0, 0, 0, :, 64]
    assert moved.sum() / 128 == pytest.approx(0.04 + 0.06, abs=0.025)


@pytest.mark.parametrize("fall", [0.04, 0.05])
def test_closed_lids_hide_what_is_between(fall: float) -> None:
    """Upper lids that fall onto the lower ones, or are said to fall past them: the eye's white is gone."""
    lids = torch.tensor([[0.05 * k - 0.025, side * 0.02, 0.3] for side in (1, -1) for k in range(2)])
    warp = PlaneWarp(8)
    warp.mean[:] = torch.tensor([0.0, 0.4, 0.0])
    warp.mean[[37, 38, 41, 40]] = lids
    off = torch.zeros(68, 3)
    off[[37, 38], 1] = -fall
    with torch.no_grad():
        warp.places.bias.copy_(off.flatten() * 2 / warps.REACH)
    centres = (torch.arange(128) + 0.5) / 128 - 0.5
    planes = torch.zeros(1, 3, 1, 128, 128)
    planes[0, 0, 0] = (centres.abs() < 0.015).float()[:, None].expand(-1, 128)
    with torch.no_grad():
        moved = warp(planes, torch.zeros(1, 8))[0, 0, 0, :, 64]
    assert moved.sum() / 128 < 0.45 * 0.03


def test_lids_that_would_cross_are_kept_apart() -> None:
    points = torch.zeros(1, 68, 3)
    points[0, 37], points[0, 41] = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.202, 0.3])
    points[0, 62, 1] = 0.05  # above what it meets: it stays
    kept = warps.kept_apart(points, 0.004)[0]
    torch.testing.assert_close(kept[37], torch.tensor([0.1, 0.203, 0.3]))
    torch.testing.assert_close(kept[41], torch.tensor([0.1, 0.199, 0.3]))
    assert torch.equal(kept[[62, 66]], points[0, [62, 66]])
    assert torch.equal(kept[:17], points[0, :17])


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


def test_products_solve_as_a_solver_does() -> None:
    generator = torch.Generator().manual_seed(0)
    places = 0.2 * torch.rand(3, 68, 2, generator=generator, dtype=torch.float64)
    places[:, 1:9] = places[:, :8].clone()  # some coincide
    near = warps._matern(places[:, :, None] - places[:, None]).prod(-1) + warps.RIDGE * torch.eye(68)
    asked = torch.randn(3, 68, 2, generator=generator, dtype=torch.float64)
    found = warps.solved_by_products(near.float(), asked.float()).double()
    exact = torch.linalg.solve(near, asked)
    assert (found - exact).abs().max() < 2e-4 * exact.abs().max()
    torch.testing.assert_close(near @ found, asked, atol=1e-3, rtol=0)
