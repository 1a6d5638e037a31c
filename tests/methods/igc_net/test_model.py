"""The whole net: shapes of all switches, and that one part without background is Unsup3D."""

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.igc_net.capsules import Light
from mien.methods.igc_net.config import IgcNetConfig
from mien.methods.igc_net.model import IGCNet, dome, light_of, relative_depths, rescaled, unscaled
from mien.methods.igc_net.networks import Encoder
from mien.render.canonical import Renderer, lambert, resample

SIZE = 32


def net(size=SIZE, **changes):
    torch.manual_seed(0)
    return IGCNet(IgcNetConfig(**{"width": 8, "dim": 8, "features": 16, "query": 4, **changes}), size).eval()


def pictures(batch=2, size=SIZE):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_one_part_without_background_is_unsup3d():
    """Its steps, written down one after the other, give the same bits."""
    model, image = net(parts=1, background=False, mirror=False, dome=False), pictures()
    x = image * 2 - 1
    e_s, e_a = (
        pooling(encoder(x), model.queries)[:, 0]
        for pooling, encoder in (
            (model.shape_decompose, model.shape_encoder),
            (model.albedo_decompose, model.albedo_encoder),
        )
    )
    raw = model.shape_decoders[0](e_s)[:, 0]
    depth = (raw - raw.mean((1, 2), keepdim=True)).tanh()
    depth = (1 + depth) / 2 * 1.1 + (1 - depth) / 2 * 0.9
    border = torch.full_like(depth[..., :2], 0.7 * 1.1 + 0.3 * 0.9)
    depth = torch.cat([border, depth[..., 2:-2], border], -1)
    albedo = (model.albedo_decoders[0](e_a).tanh() + 1) / 2
    view = model.view_net(x).tanh() * model.view_limits
    light = light_of(model.light_net(x).tanh())
    renderer = model.renderer
    for flip in (False, True):
        d, a = (depth.flip(-1), albedo.flip(-1)) if flip else (depth, albedo)
        lit = a * lambert(renderer.get_normal_from_depth(d), *light)[:, None]
        there = renderer.warp_canon_depth(d, view)
        want = resample(lit, renderer.get_inv_warped_2d_grid(there, view)) * renderer.seen(there)[:, None]
        found = model.render(model.encode(image), flip=flip)
        assert torch.equal(found.depth, there)
        if flip:  # normals are mirrored instead of found again
            assert torch.allclose(found.image, want.clamp(0, 1), atol=1e-5)
        else:
            assert torch.equal(found.image, want.clamp(0, 1))
    obj = model.encode(image)
    assert torch.equal(obj.depth, depth)
    assert torch.equal(obj.visibility[:, 1], torch.ones_like(depth))


@torch.no_grad()
def test_mirror_of_a_symmetric_object_changes_nothing():
    model = net()
    obj = model.encode(pictures())
    depth, albedo, visibility = ((m + m.flip(-1)) / 2 for m in (obj.depth, obj.albedo, obj.visibility))
    normal = model.renderer.get_normal_from_depth(depth)
    even = obj._replace(depth=depth, albedo=albedo, visibility=visibility, normal=normal)
    one, other = model.render(even), model.render(even, flip=True)
    assert torch.allclose(one.image, other.image, atol=1e-5)
    assert torch.equal(one.depth, other.depth)
    assert not torch.allclose(model.render(obj).image, model.render(obj, flip=True).image, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"parts": 1},
        {"parts": 9},
        {"background": False},
        {"light": False},
        {"confidence": False},
        {"share_decoder": False},
        {"assembling": "alpha"},
        {"pooling": "attention"},
        {"warp": "fixed_point"},
        {"dome": False},
        {"mirror": False},
        {"confidence": True},
    ],
)
def test_every_switch_learns(changes):
    """A step reaches every parameter that is used, and labels are in range."""
    model, image = net(**changes), pictures()
    obj = model.encode(image)
    drawn, other = model.render(obj), model.render(obj, flip=True)
    loss = (drawn.image - image).square().mean() + other.visibility.square().mean() + drawn.depth.mean()
    if obj.confidence is not None:
        loss = loss + obj.confidence.mean()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    parts = model.config.parts
    assert len(obj.parts) == parts
    assert obj.visibility.shape == (2, parts + 1, SIZE, SIZE)
    assert torch.allclose(obj.visibility.sum(1), torch.ones(2, SIZE, SIZE))
    labels = model.segment(image)
    assert labels.dtype == torch.int64
    assert 0 <= int(labels.min()) <= int(labels.max()) <= parts


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_sizes(size):
    model = net(size, parts=2)
    assert model.render(model.encode(pictures(1, size))).image.shape == (1, 3, size, size)


@torch.no_grad()
def test_warm_up_is_one_capsule():
    model = net()
    obj = model.encode(pictures(), single=True)
    assert len(obj.parts) == 1
    assert obj.visibility.shape[1] == 2
    model.queries.copy_(model.queries.mean(0, keepdim=True).expand_as(model.queries))
    assert torch.allclose(model.encode(pictures()).depth, obj.depth, atol=0.03), "equal parts lie alike"


@torch.no_grad()
def test_view_and_light_may_be_given():
    model = net(background=False)
    obj = model.encode(pictures())
    plain = Light(torch.ones(2), torch.zeros(2), torch.eye(3)[2].expand(2, 3))
    drawn = model.render(obj, torch.zeros(2, 6), plain)
    assert torch.allclose(drawn.image, obj.albedo, atol=1e-5)
    assert torch.allclose(drawn.visibility, obj.visibility, atol=1e-5)


def test_relative_depths_keep_their_order_and_lose_the_mean():
    draw = torch.Generator().manual_seed(0)
    raw, logits = torch.randn(2, 2, 3, 4, 4, generator=draw)
    found = relative_depths(raw, logits)
    assert torch.allclose(found[:, 0] - found[:, 1], raw[:, 0] - raw[:, 1], atol=1e-6)
    whole = (logits.softmax(1) * found).sum(1)
    assert torch.allclose(whole.mean((1, 2)), torch.zeros(2), atol=1e-6)
    weights = torch.zeros_like(raw)
    weights[:, 1, :2] = 0.7
    assert torch.allclose(
        relative_depths(raw, logits, weights)[:, 1, :2].mean((1, 2)), torch.zeros(2), atol=1e-6
    )
    assert rescaled(torch.tensor([-1.0, 0, 1]), 0.9, 1.1).tolist() == pytest.approx([0.9, 1.0, 1.1])


@torch.no_grad()
def test_the_foreground_lies_around_the_middle_depth():
    """Whatever parts do where the background hides them; without a dome."""
    model = net(dome=False)
    obj = model.encode(pictures())
    logits = torch.stack([part.presence for part in obj.parts], 1)
    shares = model.shares(logits, obj.background)
    raw = (torch.stack([part.depth for part in obj.parts], 1) * 10 - 10).atanh()
    mean = (shares * raw).sum((1, 2, 3)) / shares.sum((1, 2, 3))
    assert torch.allclose(mean, torch.zeros(2), atol=1e-4)
    assert net(background=False).shares(logits, None) is None


def test_the_dome_is_an_ellipsoid_about_the_pivot():
    depth = dome(Renderer(33), 0.92, (0.7, 1.25))
    assert depth[16, 16].item() == pytest.approx(0.92)
    assert depth[16, 0].item() == 1
    x, y = 8 / 16, 4 / 16
    height = (1 - (x / 0.7) ** 2 - (y / 1.25) ** 2) ** 0.5
    assert depth[20, 24].item() == pytest.approx(1 - 0.08 * height, abs=1e-6)
    assert torch.equal(depth, depth.flip(0))
    assert torch.equal(depth, depth.flip(1))
    assert torch.allclose(rescaled(unscaled(depth, 0.9, 1.1).tanh(), 0.9, 1.1), depth, atol=1e-6)


@torch.no_grad()
def test_untrained_depth_is_near_the_dome():
    model = net()
    assert (model.encode(pictures()).depth - model.dome).abs().mean() < 0.02
    model.shape_decoders[0].last.weight.zero_()
    model.shape_decoders[0].last.bias.zero_()
    assert torch.allclose(model.encode(pictures()).depth, model.dome.expand(2, -1, -1), atol=1e-6)


@torch.no_grad()
def test_a_mirrored_picture_has_the_same_face_seen_from_the_other_side():
    model, image = net(), pictures()
    own, other = model.encode(image), model.encode(image.flip(-1))
    assert torch.allclose(own.depth, other.depth, atol=1e-6)
    assert torch.allclose(own.albedo, other.albedo, atol=1e-6)
    signs = torch.tensor([1.0, -1, -1, -1, 1, 1])
    assert torch.allclose(own.view, other.view * signs, atol=1e-6)
    assert torch.allclose(own.light.direction[:, 0], -other.light.direction[:, 0], atol=1e-6)
    assert torch.allclose(own.light.direction[:, 1:], other.light.direction[:, 1:], atol=1e-6)


@torch.no_grad()
def test_the_background_stays_in_the_picture():
    model, image = net(), pictures()
    obj = model.encode(image)
    drawn = model.render(obj)
    behind = drawn.visibility[:, :1]
    assert torch.allclose(drawn.image, (1 - behind) * drawn.face + behind * obj.background.albedo)
    assert torch.allclose(drawn.visibility.sum(1), torch.ones(2, SIZE, SIZE), atol=1e-5)
    assert torch.allclose(drawn.normal[drawn.mask].norm(dim=-1), torch.ones(int(drawn.mask.sum())), atol=1e-4)
    assert obj.code_shape.shape == obj.code_albedo.shape == (2, 16)


def test_worked_light():
    found = light_of(torch.tensor([[-0.2, 0.2, 0.3, -0.2]]))
    assert found.direction[0].tolist() == pytest.approx([0.282216, -0.188144, 0.940721], abs=1e-6)
    assert (found.ambient.item(), found.diffuse.item()) == pytest.approx((0.4, 0.6))


def test_softness_is_saved_with_the_weights():
    model, other = net(), net()
    model.tau.fill_(0.007)
    other.load_state_dict(model.state_dict())
    assert other.tau.item() == pytest.approx(0.007)


def test_bad_input():
    with pytest.raises(ShapeError, match="32, 32"):
        net().encode(torch.zeros(1, 3, 48, 48))
    with pytest.raises(ConfigError, match="multiple of 16"):
        Encoder(40, 8, 4)
    with pytest.raises(ConfigError, match="width"):
        IgcNetConfig(width=6)
    with pytest.raises(ConfigError, match="harden"):
        IgcNetConfig(warmup=0.7, harden=0.7)
