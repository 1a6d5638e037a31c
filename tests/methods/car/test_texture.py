from __future__ import annotations

import pytest
import torch

from mien.core.errors import DataError, ShapeError
from mien.methods.car.texture import Source, inpaint, mirror_partners, paint, sources, uncertainty
from mien.render.normal_maps import vertex_normals
from tests.methods.car.shapes import ellipsoid

STRIP = torch.tensor([[0, 1, 2], [1, 3, 2], [2, 3, 4]])


def test_inpainting_is_harmonic_between_known_colours():
    P, F = ellipsoid(3)
    known = P[:, 1].abs() > 0.3
    values = torch.where(known[:, None], P[:, 1:2], 99.0)
    found = inpaint(values, known.float(), F, smooth=1e-6)
    torch.testing.assert_close(found[known], values[known], atol=1e-3, rtol=0)
    free = ~known
    i, j = torch.cat([e := _edges(F), e.flip(1)]).T
    mean = torch.zeros(len(P)).index_add_(0, i, found[j, 0]) / torch.bincount(i, minlength=len(P))
    torch.testing.assert_close(found[free, 0], mean[free], atol=1e-4, rtol=0)
    assert found[free].abs().max() < 0.75


def _edges(F):
    from mien.render.mesh_tools import unique_edges

    return unique_edges(F)


def test_a_path_is_painted_by_hand():
    # w = 1, smooth = 1: (I_known + L) c = w t on the strip 0-1-2-3-4 of triangles
    weights, values = torch.tensor([1.0, 0, 0, 0, 1]), torch.tensor([[0.0], [7], [7], [7], [1]])
    dense = torch.tensor(
        [[2.0, -1, -1, 0, 0], [-1, 2, -1, 0, 0], [-1, -1, 4, -1, -1], [0, 0, -1, 2, -1], [0, 0, -1, -1, 2]]
    )
    dense = dense + torch.diag(torch.tensor([0.0, 1, 0, 1, 0]))  # edge 1-3
    dense[1, 3] = dense[3, 1] = -1
    dense += torch.diag(weights)
    expected = torch.linalg.solve(dense, weights[:, None] * values)
    expected = expected  # vertices of degree 2, 3, 4, 3, 2
    torch.testing.assert_close(inpaint(values, weights, STRIP, smooth=1.0), expected, atol=1e-3, rtol=0)


def test_a_part_without_colour_takes_the_mean_and_none_at_all_is_an_error():
    values = torch.tensor([[0.2], [0.4], [0.6], [9], [9], [9]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    found = inpaint(values, torch.tensor([1.0, 1, 1, 0, 0, 0]), faces)
    torch.testing.assert_close(found[3:, 0], torch.full((3,), 0.4))
    with pytest.raises(DataError, match="no vertex has a known colour"):
        inpaint(values, torch.zeros(6), faces)
    with pytest.raises(ShapeError, match="weights"):
        inpaint(values, torch.zeros(5), faces)


def test_partners_are_mirror_images_that_are_seen():
    P, F = ellipsoid(3)
    n = vertex_normals(P, F)
    seen = P[:, 0] > 0.05
    partner = mirror_partners(P, n, seen)
    far = P[:, 0] < -0.05
    assert (partner[far] >= 0).all()
    torch.testing.assert_close(P[partner[far]], P[far] * torch.tensor([-1.0, 1, 1]), atol=1e-5, rtol=0)
    assert (
        mirror_partners(P, -n * torch.tensor([1.0, 1, 1]), torch.zeros(len(P), dtype=torch.bool)) == -1
    ).all()
    flipped = torch.where(seen[:, None], n, -n)  # the mirror image faces the other way
    assert (mirror_partners(P, flipped, seen)[far] == -1).all()


def test_sources_and_uncertainty_by_hand():
    seen = torch.tensor([True, False, False, False])
    mirrored = torch.tensor([False, True, False, False])
    distance = torch.tensor([0.5, 0.01, 0.01, 0.5])
    assert sources(seen, mirrored, distance).tolist() == [0, 1, 2, 3]
    found = uncertainty(torch.tensor([0.8, 0, 0, 0]), torch.tensor([-1, 0, -1, -1]), distance)
    torch.testing.assert_close(found, torch.tensor([0.2, 0.6, 1 - 0.25 * 0.818731, 1 - 0.25 * 4.54e-5]))


def test_a_picture_on_a_body():
    P, F = ellipsoid(4)
    size = 96
    x = (torch.arange(size) + 0.5) / size * 2 - 1
    picture = (
        torch.stack([x.expand(size, size), -x[:, None].expand(size, size), torch.zeros(size, size)]) / 2 + 0.5
    )
    mask = torch.ones(size, size, dtype=torch.bool)
    mask[:, size // 2 :] = False  # only the left half of the person is in the picture
    skin = paint(P, P, F, picture, mask, P[P[:, 1] < 0.5], size=256)
    left = (skin.provenance == Source.VISIBLE).nonzero()[:, 0]
    torch.testing.assert_close(skin.colors[left, :2], P[left, :2] / 2 + 0.5, atol=0.01, rtol=0)
    right = (skin.provenance == Source.SYMMETRIC).nonzero()[:, 0]
    assert (P[right, 0] > -0.1).all()
    mirrored = P[right, :2] * torch.tensor([-1.0, 1]) / 2 + 0.5
    torch.testing.assert_close(skin.colors[right, :2], mirrored, atol=0.05, rtol=0)
    assert {int(s) for s in skin.provenance.unique()} == {0, 1, 2, 3}
    means = [float(skin.uncertainty[skin.provenance == s].mean()) for s in range(4)]
    assert means == sorted(means)
    assert float(skin.colors.min()) >= 0
    assert float(skin.colors.max()) <= 1
    with pytest.raises(DataError, match="no vertex"):
        paint(P, P, F, picture, ~mask & mask, P)
    with pytest.raises(ShapeError, match="fit together"):
        paint(P, P, F, picture, mask[1:], P)
