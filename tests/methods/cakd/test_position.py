from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cakd import (
    FacialPositionEncoding,
    Grid,
    flip_landmarks,
    piecewise_index,
    template_landmarks,
)
from mien.methods.cakd.position import (
    euclid_distance,
    facial_distance,
    n_buckets,
    relative_distance,
    saliency_distance,
)
from mien.nn import build_face_net

F64 = torch.float64
STUDENT = Grid(7, 7, 16, 112)
SALIENCY = {
    0: [3.323172, 2.873439, 2.733098, 2.931334, 2.720523, 2.865269, 3.319381],
    3: [1.912423, 0.933026, 0.289330, 0.983539, 0.297015, 0.946965, 1.924907],
    6: [2.219337, 1.315977, 0.733575, 1.159513, 0.741505, 1.307131, 2.206208],
}
MIRROR = torch.tensor([[38.0, 52], [74, 52], [56, 72], [41, 92], [71, 92]])


def slow_index(x, a, b, g):
    if abs(x) <= a:
        return round(x)
    return int(math.copysign(min(b, round(a + math.log(abs(x) / a) / math.log(g / a) * (b - a))), x))


def test_worked_numbers_of_the_index():
    x = torch.tensor([0, 1.2, 1.6, 2, 3, 5, 9, 17, 40], dtype=F64)
    assert piecewise_index(x, 2, 8, 32).tolist() == [0, 1, 2, 2, 3, 4, 5, 7, 8]
    assert piecewise_index(-x, 2, 8, 32).tolist() == [0, -1, -2, -2, -3, -4, -5, -7, -8]
    # Half to even; b = 3.8 of iRPE is cut off to 3.
    assert piecewise_index(torch.tensor([0.5, 1.5, 100.0]), 1.9, 3.8, 15.2).tolist() == [0, 2, 3]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-60, 60), min_size=1, max_size=20), st.sampled_from([(2, 8, 32), (1.9, 3.8, 15.2)]))
def test_index_equals_its_loop(values, pif):
    found = piecewise_index(torch.tensor(values, dtype=F64), *pif)
    assert found.tolist() == [slow_index(v, *pif) for v in values]
    assert found.abs().max() < n_buckets(pif)


def test_worked_numbers_of_the_saliency_distance():
    m = template_landmarks(112).double()
    grid_units = m / 16 - 0.5
    expected = [
        [1.893413, 2.731019],
        [4.095738, 2.718837],
        [3.001575, 3.983537],
        [2.096831, 5.272844],
        [3.920619, 5.262756],
    ]
    torch.testing.assert_close(grid_units, torch.tensor(expected, dtype=F64), atol=1e-6, rtol=0)
    d = saliency_distance(STUDENT.centres().double(), m).reshape(7, 7) / 16
    for row, values in SALIENCY.items():
        torch.testing.assert_close(d[row], torch.tensor(values, dtype=F64), atol=1e-6, rtol=0)


def test_distances_equal_their_loops():
    g = torch.Generator().manual_seed(0)
    p, a, m = (torch.rand(n, 2, generator=g, dtype=F64) * 9 for n in (6, 3, 5))
    for i in range(6):
        own = [math.dist(p[i].tolist(), k) for k in m.tolist()]
        assert saliency_distance(p, m)[i].item() == pytest.approx(min(own))
        for j in range(3):
            its = [math.dist(a[j].tolist(), k) for k in m.tolist()]
            wanted = math.sqrt(sum((x - y) ** 2 for x, y in zip(own, its, strict=True)) / 5)
            assert relative_distance(p, a, m)[j, i].item() == pytest.approx(wanted)
            far = math.dist(p[i].tolist(), a[j].tolist())
            assert euclid_distance(p, a)[j, i].item() == pytest.approx(far)
            both = facial_distance(p, a, m, "relative", 0.5)[j, i].item()
            assert both == pytest.approx(far + 0.5 * wanted)
            assert facial_distance(p, a, m, "saliency", 2.0)[j, i].item() == pytest.approx(far + 2 * min(own))


@pytest.mark.parametrize("kind", ["saliency", "relative"])
@pytest.mark.parametrize("anchors", ["centre", "landmarks"])
def test_without_gamma_it_is_the_euclid_code(kind, anchors):
    first = FacialPositionEncoding(STUDENT, kind=kind, gamma=0.0, dim=8, anchors=anchors)
    plain = FacialPositionEncoding(STUDENT, kind="euclid", dim=8, anchors=anchors, table=first.table)
    assert torch.equal(first(), plain())
    with_face = FacialPositionEncoding(STUDENT, kind=kind, dim=8, anchors=anchors, table=first.table)
    assert not torch.equal(with_face(), plain())


@pytest.mark.parametrize("kind", ["euclid", "saliency", "relative"])
@pytest.mark.parametrize("anchors", ["centre", "landmarks"])
def test_codes_of_a_symmetric_face_are_symmetric(kind, anchors):
    code = FacialPositionEncoding(STUDENT, MIRROR, kind, dim=8, anchors=anchors)
    b = code().unflatten(0, (7, 7))
    torch.testing.assert_close(b, b.flip(1), atol=1e-7, rtol=0)
    upside_down = kind == "euclid" and anchors == "centre"
    assert torch.allclose(b, b.flip(0)) == upside_down


@pytest.mark.parametrize("kind", ["saliency", "relative"])
@pytest.mark.parametrize("anchors", ["centre", "landmarks"])
def test_the_mirrored_picture_has_the_mirrored_codes(kind, anchors):
    m = template_landmarks(112) + torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(1)) * 4
    code = FacialPositionEncoding(STUDENT, kind=kind, dim=8, anchors=anchors)
    straight = code(m).unflatten(1, (7, 7))
    mirrored = code(flip_landmarks(m, 112)).unflatten(1, (7, 7))
    torch.testing.assert_close(mirrored, straight.flip(2), atol=1e-6, rtol=0)
    assert torch.equal(flip_landmarks(flip_landmarks(m, 112), 112)[..., 1], m[..., 1])


@pytest.mark.parametrize("anchors", ["centre", "landmarks"])
def test_codes_are_sums_of_lookups(anchors):
    code = FacialPositionEncoding(Grid(3, 2, 10, 30), kind="relative", dim=4, anchors=anchors)
    m = template_landmarks(30) + torch.tensor([[[1.0, -2.0]], [[0.0, 3.0]]])
    index = code.index(m)
    assert index.shape[-2:] == (5 if anchors == "landmarks" else 1, 6)
    for b in range(2):
        for i in range(6):
            wanted = sum(code.table[k] for k in index[b, :, i].tolist())
            torch.testing.assert_close(code(m)[b, i], wanted)
    torch.testing.assert_close(code(m[:1])[0], FacialPositionEncoding(
        Grid(3, 2, 10, 30), m[0], "relative", dim=4, anchors=anchors, table=code.table)())  # fmt: skip


def test_grids_of_other_strides_agree_in_pixels():
    table = FacialPositionEncoding(STUDENT, dim=8).table
    teacher = FacialPositionEncoding(Grid(12, 12, 9, 112), dim=8, unit=16, table=table)
    assert teacher.table is table
    # The centre of the student's middle token is pixel 56, as is that of one token of 112 pixels.
    whole = FacialPositionEncoding(Grid(1, 1, 112, 112), dim=8, unit=16, table=table)
    student = FacialPositionEncoding(STUDENT, dim=8, table=table)
    assert torch.equal(whole()[0], student()[24])
    far = teacher.index(template_landmarks(112))[0]
    points = Grid(12, 12, 9, 112).centres()
    d = (points - 56).norm(dim=1) + saliency_distance(points, template_landmarks(112))
    assert far.tolist() == [slow_index(2 * x, 2, 8, 32) for x in (d.double() / 16).tolist()]


def test_the_table_learns_from_both_sides():
    a = FacialPositionEncoding(STUDENT, dim=4)
    b = FacialPositionEncoding(Grid(12, 12, 9, 112), dim=4, unit=16, table=a.table)
    (a().sum() + b().sum()).backward()
    assert a.table.grad.sum().item() == pytest.approx(4 * (49 + 144))
    assert len(list(torch.nn.ModuleList([a, b]).parameters())) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swin_tiny", Grid(3, 3, 16, 48)),
        ("vit_tiny", Grid(6, 6, 8, 48)),
        ("mbf_tiny", Grid(3, 3, 16, 48)),
    ],
)
def test_grid_of_a_net(name, expected):
    assert Grid.of(build_face_net(name, 48, 8)) == expected


def test_grid_of_a_vit_leaves_out_what_its_patches_do():
    with torch.device("meta"):
        net = build_face_net("vit_t")
    assert Grid.of(net) == Grid(12, 12, 9, 112)
    assert Grid.of(net).centres()[-1].tolist() == [103.5, 103.5]
    with pytest.raises(ConfigError, match="no map 'x'; known: stem"):
        Grid.of(net, "x")


def test_wrong_options():
    with pytest.raises(ConfigError, match="kind='x' is unknown; known: euclid, saliency, relative"):
        FacialPositionEncoding(STUDENT, kind="x")
    with pytest.raises(ConfigError, match="anchors='x' is unknown"):
        FacialPositionEncoding(STUDENT, anchors="x")
    with pytest.raises(ConfigError, match="0 < a < b"):
        FacialPositionEncoding(STUDENT, pif=(2, 1, 32))
    with pytest.raises(ConfigError, match="must be above 0"):
        FacialPositionEncoding(STUDENT, unit=0)
    with pytest.raises(ConfigError, match=r"must be \(9, 8\)"):
        FacialPositionEncoding(STUDENT, dim=8, table=torch.nn.Parameter(torch.zeros(3, 8)))
    with pytest.raises(ShapeError, match=r"landmarks \(B, 5, 2\), got \(5, 2\)"):
        FacialPositionEncoding(STUDENT, dim=8)(MIRROR)
    with pytest.raises(ShapeError, match=r"landmarks \(5, 2\), got \(4, 2\)"):
        FacialPositionEncoding(STUDENT, MIRROR[:4], dim=8)
