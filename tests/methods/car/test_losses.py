from __future__ import annotations

import pytest
import torch

from mien.core.errors import ShapeError
from mien.methods.car.losses import (
    CANONICAL,
    POSED,
    FieldSamples,
    eikonal_loss,
    normal_loss,
    occupancy,
    occupancy_loss,
    off_surface_loss,
    sdf_loss,
    sign_loss,
    surface_loss,
)

ON = torch.tensor([[0.5, 0, 0], [0, 0.5, 0], [0, 0, -0.5]], dtype=torch.float64)
OFF = torch.tensor([[0.6, 0, 0], [0, 0, 0.3], [0.1, 0.2, 0.2], [-0.9, 0.9, 0.9]], dtype=torch.float64)


def ball(x, radius=0.5, scale=1.0):
    """Value and gradient of scale (|x| - radius)."""
    length = x.norm(dim=-1, keepdim=True)
    return FieldSamples(scale * (length - radius), scale * x / length)


def test_worked_numbers_of_a_true_sphere():
    off = ball(OFF)
    assert off.s.flatten().tolist() == pytest.approx([0.1, -0.2, -0.2, 1.058846], abs=5e-7)
    assert float(off_surface_loss(off.s, 10)) == pytest.approx(0.159644, abs=5e-7)
    assert float(off_surface_loss(off.s, 100)) == pytest.approx(1.135101e-05, abs=5e-12)
    assert float(eikonal_loss(off.gradient)) == pytest.approx(0, abs=1e-30)


def test_worked_numbers_of_a_stretched_sphere():
    on, off = ball(ON, 0.48, 1.1), ball(OFF, 0.48, 1.1)
    near, box = FieldSamples(off.s[:2], off.gradient[:2]), FieldSamples(off.s[2:], off.gradient[2:])
    total, terms = sdf_loss(on, ON / 0.5, near, box)
    wanted = {"surface": 0.022, "normal": 0.0, "eikonal": 0.01, "off": 0.135820}
    assert {k: float(v) for k, v in terms.items()} == pytest.approx(wanted, abs=5e-7)
    assert float(total) == pytest.approx(0.036582, abs=5e-7)


def test_sum_of_the_posed_stage():
    on, off = ball(ON, 0.48, 1.1), ball(OFF, 0.48, 1.1)
    near, box = FieldSamples(off.s[:2], off.gradient[:2]), FieldSamples(off.s[2:], off.gradient[2:])
    total, terms = sdf_loss(on, ON / 0.5, near, box, POSED)
    assert float(terms["normal"]) == pytest.approx(0.1)  # the gradient has length 1.1 and is not normalised
    assert torch.equal(terms["off"], torch.exp(-100 * box.s.abs()).mean())
    slow = terms["surface"] + terms["normal"] + 0.1 * terms["eikonal"] + terms["off"]
    assert torch.allclose(total, slow)
    assert (CANONICAL.eikonal, CANONICAL.off, POSED.eikonal, POSED.off) == (0.1, 0.1, 0.1, 1.0)


def test_weights_of_points():
    s = torch.tensor([[1.0], [-3.0]])
    g, n = torch.tensor([[0, 0, 2.0], [0, 3.0, 0]]), torch.tensor([[0, 0, 1.0], [0, 0, 1.0]])
    weight = torch.tensor([3.0, 1.0])
    assert float(surface_loss(s, weight)) == pytest.approx(1.5)
    assert float(normal_loss(g, n, weight)) == pytest.approx(2**0.5 / 4)
    assert float(surface_loss(s, torch.zeros(2))) == 0
    assert surface_loss(s, torch.ones(2)) == surface_loss(s)


def test_sign_supervision():
    out = torch.tensor([[0.5], [-0.2]])
    assert float(sign_loss(out, torch.tensor([[-0.4], [0.1]]), 0.01)) == pytest.approx(0.105 + 0.055)
    assert float(sign_loss(out[:1], -out[:1])) == 0
    assert float(sign_loss(out[:0], out[:0])) == 0


def test_occupancy():
    s = torch.tensor([[-50.0], [0.0], [50.0]])
    assert occupancy(s).flatten().tolist() == pytest.approx([1, 0.5, 0])
    assert float(occupancy_loss(s, torch.tensor([True, True, False]))) == pytest.approx(0.25 / 3)


def test_gradcheck():
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn(6, n, dtype=torch.float64, generator=generator).requires_grad_() for n in (1, 3)
    ] * 3
    normals = torch.nn.functional.normalize(values[1].detach() + 1, dim=-1)

    def whole(*v):
        return sdf_loss(FieldSamples(*v[:2]), normals, FieldSamples(*v[2:4]), FieldSamples(*v[4:]))[0]

    assert torch.autograd.gradcheck(whole, tuple(v.detach().clone().requires_grad_() for v in values))


def test_bad_input():
    s = torch.zeros(4, 1)
    with pytest.raises(ShapeError, match="weights"):
        surface_loss(s, torch.ones(4, 1))
    with pytest.raises(ShapeError, match="alike"):
        normal_loss(torch.zeros(4, 3), torch.zeros(1, 3))
    with pytest.raises(ShapeError, match="labels"):
        occupancy_loss(s, torch.zeros(4, 1))
    assert surface_loss(s) == 0
