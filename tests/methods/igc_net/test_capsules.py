"""How parts make the whole: worked numbers and identities."""

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.igc_net.capsules import (
    GraphicsCapsule,
    Light,
    assemble,
    codes_of,
    mirrored,
    object_capsule,
    over_layers,
)
from mien.render.canonical import Renderer

SIZE = 8


def column(values):
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)


DEPTHS = column([1.02, 0.98, 1.00])


@pytest.mark.parametrize(
    ("tau", "presence", "visibility", "depth"),
    [
        (0.02, None, [0.090031, 0.665241, 0.244728], 0.988496),
        (0.005, None, [0.000329, 0.981690, 0.017980], 0.980373),
        (0.02, [0.9, 0.2, 0.7], [0.210250, 0.345234, 0.444516], None),
        (0.0, None, [0.0, 1.0, 0.0], 0.98),
    ],
)
def test_worked_visibility(tau, presence, visibility, depth):
    logits = torch.zeros_like(DEPTHS) if presence is None else column(presence).logit()
    found, assembled = assemble(DEPTHS, logits, tau)
    assert found.flatten().tolist() == pytest.approx(visibility, abs=2e-6)
    if depth is not None:
        assert assembled.item() == pytest.approx(depth, abs=1e-6)


def test_worked_albedo():
    visibility, _ = assemble(DEPTHS, torch.zeros_like(DEPTHS), 0.02)
    albedo = torch.tensor([[0.9, 0.1, 0.2], [0.2, 0.6, 0.4], [0.5, 0.5, 0.5]], dtype=torch.float64)
    found = over_layers(visibility, albedo.view(1, 3, 3, 1, 1))
    assert found.flatten().tolist() == pytest.approx([0.336440, 0.530512, 0.406467], abs=2e-6)


def layers(count=4, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    depths = 0.9 + 0.2 * torch.rand(2, count, 5, 5, generator=draw, dtype=dtype)
    return depths, torch.randn(2, count, 5, 5, generator=draw, dtype=dtype)


def test_small_tau_is_the_z_buffer():
    depths, logits = layers()
    soft, hard = (assemble(depths, logits, tau) for tau in (1e-6, 0.0))
    assert torch.allclose(soft[0], hard[0], atol=1e-6)
    assert torch.equal(hard[1], depths.amin(1))


def test_sums_to_one_where_the_plain_form_is_zero_over_zero():
    depths, logits = (x.float() for x in layers())
    assert bool(((-depths / 0.005).exp() == 0).any())
    visibility, _ = assemble(depths, logits, 0.005)
    assert torch.allclose(visibility.sum(1), torch.ones(2, 5, 5))


def test_a_common_depth_changes_nothing_one_of_a_layer_does():
    depths, logits = layers()
    want = assemble(depths, logits, 0.02)[0]
    assert torch.allclose(assemble(depths + 0.03, logits, 0.02)[0], want)
    depths[:, 0] -= 0.03
    assert not torch.allclose(assemble(depths, logits, 0.02)[0], want, atol=1e-2)


def test_alpha_ignores_depth():
    depths, logits = layers()
    visibility, depth = assemble(depths, logits, 0.02, "alpha")
    assert torch.allclose(visibility, logits.sigmoid() / logits.sigmoid().sum(1, keepdim=True))
    assert torch.equal(assemble(depths.flip(1), logits, 0.02, "alpha")[0], visibility)
    assert torch.allclose(depth, (visibility * depths).sum(1))


def test_gradients():
    depths, logits = (x[:1, :, :2, :2].clone().requires_grad_() for x in layers())
    assert torch.autograd.gradcheck(lambda d, s: assemble(d, s, 0.02), (depths, logits))


def test_bad_input():
    depths, logits = layers()
    with pytest.raises(ShapeError, match="logits"):
        assemble(depths, logits[:, :2], 0.02)
    with pytest.raises(ConfigError, match="tau"):
        assemble(depths, logits, -1.0)
    with pytest.raises(ConfigError, match="beta"):
        assemble(depths, logits, 0.1, "beta")


def capsule(draw, batch=2):
    maps = torch.rand(batch, 5, SIZE, SIZE, generator=draw)
    codes = torch.rand(2, batch, 4, generator=draw)
    return GraphicsCapsule(0.9 + 0.2 * maps[:, 0], maps[:, 1:4], maps[:, 4] - 0.5, *codes)


def whole(parts, background):
    batch = len(parts[0].depth)
    light = Light(torch.full((batch,), 0.4), torch.full((batch,), 0.6), torch.eye(3)[2].expand(batch, 3))
    view = torch.zeros(batch, 6)
    return object_capsule(Renderer(SIZE), parts, view, light, 0.02, background=background)


def test_order_of_parts_does_not_matter():
    draw = torch.Generator().manual_seed(1)
    parts, background = [capsule(draw) for _ in range(3)], capsule(draw)
    one, other = whole(parts, background), whole([parts[k] for k in (2, 0, 1)], background)
    assert torch.allclose(one.depth, other.depth, atol=1e-6)
    assert torch.allclose(one.albedo, other.albedo, atol=1e-6)
    assert torch.allclose(one.visibility[:, [0, 3, 1, 2]], other.visibility, atol=1e-6)


def test_without_background_its_layer_is_empty():
    draw = torch.Generator().manual_seed(1)
    obj = whole([capsule(draw) for _ in range(3)], None)
    assert obj.visibility.shape == (2, 4, SIZE, SIZE)
    assert not obj.visibility[:, 0].any()
    assert torch.allclose(obj.depth[..., :2], torch.tensor(0.7 * 1.1 + 0.3 * 0.9))


def test_depth_does_not_learn_from_what_is_seen():
    """Else a part comes nearer only to hide the background; its albedo and presence do learn."""
    draw = torch.Generator().manual_seed(1)
    part = GraphicsCapsule(*(x.requires_grad_() for x in capsule(draw)))
    obj = whole([part], capsule(draw))
    obj.visibility[:, 1].sum().backward(retain_graph=True)
    assert part.depth.grad is None
    assert part.presence.grad.abs().max().item() > 0
    obj.depth.sum().backward()
    assert part.depth.grad.abs().max().item() > 0


def test_mirror_is_the_object_of_mirrored_depth():
    draw = torch.Generator().manual_seed(2)
    obj = whole([capsule(draw)], None)
    found = mirrored(obj)
    assert torch.allclose(found.normal, Renderer(SIZE).get_normal_from_depth(found.depth), atol=1e-5)
    assert torch.equal(mirrored(found).albedo, obj.albedo)


def test_an_object_without_a_net_has_no_code():
    with pytest.raises(ConfigError, match=r"IGCNet\.encode"):
        codes_of(whole([capsule(torch.Generator().manual_seed(0))], None))
