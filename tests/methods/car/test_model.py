from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.methods.car import HyperNetwork
from mien.methods.car.model import BodyCues, CanonicalSDF, NormalNet, in_front, sample_bilinear

SMALL = {"hidden": (48, 48, 48), "skips": (2,), "channels": 16, "depth": 1, "joints": 4}
EVERY = ("image", "body", "joints", "normal")


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build(features=("image", "normal"), seed=0, **options):
    """A small field whose features matter (at the start they would not)."""
    torch.manual_seed(seed)
    net = CanonicalSDF(features, **{**SMALL, **options})
    for i in (0, 2):
        torch.nn.init.normal_(net.field.layers[i].weight, std=0.2)
    return net.eval()


def rotation(seed=0):
    q, r = torch.linalg.qr(random(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    out = torch.eye(4)
    out[:3, :3] = q * q.det()
    return out


def scene(batch=2, points=7, joints=4):
    """(x_c, weights, T, calib) with true rotations in T."""
    T = torch.stack([torch.stack([rotation(10 * b + j) for j in range(joints)]) for b in range(batch)])
    T[..., :3, 3] = 0.2 * random(batch, joints, 3, seed=4)
    calib = torch.diag(torch.tensor([0.7, -0.7, 0.7, 1.0])).repeat(batch, 1, 1)
    weights = random(batch, points, joints, seed=5).softmax(-1)
    return 0.5 * random(batch, points, 3, seed=6), weights, T, calib


def maps(batch=2, side=32, seed=7):
    return F.normalize(random(batch, 3, side, side, seed=seed), dim=1)


def cues(batch=2, points=7, joints=4):
    front = (random(batch, points, 1, seed=8) > 0).float()
    return BodyCues(front, random(batch, points, 1, seed=9), random(batch, joints, 3, seed=10))


def test_normal_net_has_two_independent_sides():
    torch.manual_seed(0)
    net, inputs = NormalNet(), [random(1, 3, 32, 32, seed=k) for k in range(3)]
    mask = torch.ones(1, 1, 32, 32)
    front, back = net(*inputs, mask)
    assert torch.equal(front, net.front(torch.cat(inputs[:2], 1), mask))
    assert torch.equal(back, net.back(torch.cat([inputs[0], inputs[2]], 1), mask))
    assert 0.95e6 < sum(p.numel() for p in net.parameters()) < 1.05e6
    alone = NormalNet(body=False)
    assert torch.equal(alone(*inputs, mask)[0], alone.front(inputs[0], mask))
    with pytest.raises(ConfigError, match="unet, pix2pix"):
        NormalNet("vit")


def test_look_up_is_grid_sample_and_twice_differentiable():
    grid, xy = random(2, 3, 5, 7).double(), 0.8 * random(2, 40, 2, seed=1).double()
    wanted = F.grid_sample(grid, xy[:, :, None], align_corners=True)[..., 0].mT
    assert torch.allclose(sample_bilinear(grid, xy), wanted, atol=1e-14)
    corner = torch.tensor([[[-1.0, -1.0], [1.0, 1.0]]], dtype=torch.float64)
    assert torch.equal(sample_bilinear(grid[:1], corner)[0, 1], grid[0, :, -1, -1])
    some = xy[:, :3].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda p: sample_bilinear(grid, p).square(), some)


def test_in_front_of_the_middle():
    front, back = torch.full((1, 4, 4), 0.3), torch.full((1, 4, 4), -0.1)
    front[0, :, 0] = back[0, :, 0] = torch.inf
    points = torch.tensor([[[0.4, 0.0, 0.2], [0.4, 0.0, 0.0], [-0.9, 0.0, 0.2], [-0.9, 9.0, 0.0]]])
    assert in_front(points, front, back).flatten().tolist() == [1, 0, 1, 0]
    with pytest.raises(ShapeError, match="two"):
        in_front(points, front, back[0])


@pytest.mark.parametrize("transport", ["exact", "official"])
def test_the_field_written_out(transport):
    net, (x, w, T, calib) = build(EVERY, normal_transport=transport, two_sided=True), scene()
    front, back, told = maps(), maps(seed=20), cues()
    net.filter(front, back)
    s, gradient = net.query(x, w, T, calib, cues=told)
    for b in range(2):
        for n in range(7):
            v = sum(w[b, n, j] * T[b, j] for j in range(4))
            box = (calib[b] @ v @ torch.cat([x[b, n], torch.ones(1)]))[:3]
            at = box[None, None, :2]
            phi = F.grid_sample(net.maps.features[b : b + 1], at[:, None], align_corners=True).flatten()
            side = front if told.front[b, n] else back
            n_p = F.grid_sample(side[b : b + 1], at[:, None], align_corners=True).flatten()
            n_p = n_p * torch.tensor([1, -1, 1])
            a = calib[b, :3, :3] @ v[:3, :3]
            n_c = F.normalize(a.T @ n_p if transport == "exact" else torch.linalg.inv(a) @ n_p, dim=0)
            joints = (x[b, n] - told.joints[b]).flatten()
            own = torch.cat([phi, told.distance[b, n], joints, n_c])[None]
            assert torch.allclose(net.field(x[b, n][None], own)[0], s[b, n], atol=2e-5)
    assert gradient.shape == (2, 7, 3)
    assert torch.allclose(net.values(x, w, T, calib, told), s, atol=1e-6)


def test_start_is_a_sphere_whatever_the_features():
    torch.manual_seed(0)
    net, (x, w, T, calib) = CanonicalSDF(EVERY, **SMALL).eval(), scene()
    net.filter(maps())
    first = net.query(x, w, T, calib, cues=cues()).s
    net.filter(maps(seed=30))
    assert torch.equal(first, net.query(x, w, T, calib, cues=cues()._replace(distance=first)).s)


def test_gradient_is_partial_or_total():
    x, w, T, calib = (v.double() for v in scene())
    h, axis = 1e-5, torch.eye(3, dtype=torch.float64)

    def central(f):
        return torch.cat([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in axis], -1)

    partial, total = (build(total_gradient=t).double() for t in (False, True))
    partial.filter(maps().double())
    total.filter(maps().double())
    held = partial.inputs_at(x, w, T, calib, BodyCues())
    with torch.no_grad():
        slow_partial = central(lambda p: partial.field(p, *held))
        slow_total = central(lambda p: total.values(p, w, T, calib))
    assert (partial.query(x, w, T, calib).gradient - slow_partial).abs().max() < 1e-3
    assert (total.query(x, w, T, calib).gradient - slow_total).abs().max() < 1e-3
    assert (slow_partial - slow_total).abs().max() > 0.05


@pytest.mark.parametrize("total", [False, True])
def test_a_loss_of_the_gradient_can_be_trained(total):
    net = build(total_gradient=total).train()
    net.filter(maps())
    s, gradient = net.query(*scene())
    (s.abs().mean() + (gradient.norm(dim=-1) - 1).square().mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.hourglass.stem[0].weight.grad.abs().max() > 0
    assert not net.eval().query(*scene()).gradient.requires_grad


def test_turning_body_and_camera_together_changes_nothing():
    net, (x, w, T, calib) = build(), scene()
    net.filter(maps())
    turn = rotation(99)
    turn[:3, 3] = torch.tensor([0.3, -0.2, 0.1])
    before, after = net.query(x, w, T, calib), net.query(x, w, turn @ T, calib @ torch.linalg.inv(turn))
    assert torch.allclose(before.s, after.s, atol=1e-5)
    assert torch.allclose(before.gradient, after.gradient, atol=1e-4)


def test_the_normal_is_that_of_the_picture_in_the_identity_pose():
    net, (x, w, T, calib) = build(("normal",)), scene()
    net.filter(maps())
    T = torch.eye(4).expand_as(T)
    (n_c,) = net.inputs_at(x, w, T, calib, BodyCues())
    seen = sample_bilinear(net.maps.front, x[..., :2] * torch.tensor([0.7, -0.7]))
    assert torch.allclose(n_c, F.normalize(seen, dim=-1), atol=1e-5)
    away = build(("normal",), z_away=True)
    away.filter(maps())
    flipped = calib * torch.tensor([1, 1, -1.0, 1])[:, None]
    assert torch.allclose(away.inputs_at(x, w, T, flipped, BodyCues())[0], n_c, atol=1e-5)


def test_posed_space_reads_the_box():
    net, (x, w, T, calib) = build(("image",), space="posed"), scene()
    net.filter(maps())
    s, gradient = net.query(x, w, T, calib)
    other = net.query(x, w, T[:, [1, 0, 2, 3]], calib)
    box = x * torch.tensor([0.7, -0.7, 0.7])
    assert torch.allclose(s, net.field(box, sample_bilinear(net.maps.features, box[..., :2])), atol=1e-6)
    assert torch.equal(s, other.s)
    assert gradient.shape == (2, 7, 3)
    told = build(("normal",), space="posed")
    told.filter(maps())
    seen = sample_bilinear(told.maps.front, box[..., :2]) * torch.tensor([1, -1, 1])
    assert torch.equal(told.inputs_at(x, w, T, calib, BodyCues())[0], F.normalize(seen, dim=-1))


def test_features_that_are_missing_say_so():
    x, w, T, calib = scene()
    with pytest.raises(ShapeError, match="filter"):
        build().query(x, w, T, calib)
    told = build(("body", "joints"))
    told.filter(maps())
    with pytest.raises(ShapeError, match="BodyCues\\(distance"):
        told.query(x, w, T, calib)
    with pytest.raises(ShapeError, match="two maps"):
        build(two_sided=True).filter(maps())
    with pytest.raises(ConfigError, match="image, body, joints, normal"):
        CanonicalSDF(("colour",))
    with pytest.raises(ConfigError, match="canonical, posed"):
        CanonicalSDF((), space="box")
    with pytest.raises(ConfigError, match="inputs=4"):
        CanonicalSDF((), inputs=4)
    with pytest.raises(ConfigError, match="exact, official"):
        CanonicalSDF((), normal_transport="none")
    assert build(()).field.features == 0


def test_published_sizes():
    with torch.device("meta"):
        net = CanonicalSDF()
    assert [tuple(m.weight.shape) for m in net.field.layers] == [
        (512, 262), (512, 512), (512, 512), (250, 512), (512, 512), (512, 512), (1, 512)
    ]  # fmt: skip
    assert net.hourglass.outputs[0].out_channels == 256
    assert HyperNetwork.__name__ == "HyperNetwork"
