"""CQIL and its parts: what is off does not exist, and changes nothing of the others."""

import pytest
import torch
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cqil import CQIL, build_net
from mien.methods.cqil.config import RECIPES, CqilConfig
from mien.methods.cqil.model import rest_of
from mien.methods.cqil.superres import halvings
from mien.nn.cifar_resnet import SmallResNet

SMALL = "small-resnet-8-16"


def pictures(n: int = 4, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def net(sr: bool = True, contrast: str = "ntxent", sqn: bool = True, seed: int = 0) -> CQIL:
    return CQIL(SMALL, sr, contrast, sqn, sr_channels=4, sr_blocks=1, seed=seed)  # type: ignore[arg-type]


def test_shapes_of_all_parts() -> None:
    out = net(contrast="byol")(pictures(), heads=True)
    shapes = [None if v is None else tuple(v.shape) for v in out]
    assert shapes == [(4, 2), (4, 8), (4,), (4,), (4, 64), (4, 64)]
    used = net()(pictures())
    assert used.leaked is None
    assert used.projection is None
    assert used.quality is not None


def test_parts_that_are_off_do_not_exist() -> None:
    bare = net(False, "none", False)
    assert {n.split(".")[0] for n, _ in bare.named_parameters()} == {"backbone", "classifier"}
    out = bare(pictures(), heads=True)
    assert out.features.shape == (4, 16)
    assert out[2:] == (None,) * 4
    assert bare.maps() is None


def test_each_part_has_its_own_first_weights() -> None:
    """Switching a part on changes no weight of what was there without it."""
    whole = net().state_dict()
    for other in (net(sr=False), net(contrast="none"), net(contrast="byol"), net(False, "none")):
        for name, value in other.state_dict().items():
            if name in whole and value.shape == whole[name].shape:
                assert torch.equal(value, whole[name]), name
    first = net(seed=1).state_dict()["backbone.net.stages.0.0.weight"]
    assert not torch.equal(first, whole["backbone.net.stages.0.0.weight"])


def test_building_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    net()
    assert torch.equal(torch.rand(2), expected)


def test_super_resolution_touches_small_pictures_alone() -> None:
    model, x = net().eval(), pictures(4, 48)
    x[2:] = 0.5 + 0.2 * torch.sin(torch.linspace(0, 6, 48)).expand(2, 3, 48, 48)
    assert halvings(x).tolist() == [0, 0, 2, 2]
    seen = model.resolved(x)
    assert torch.equal(seen[:2], x[:2])
    assert not torch.equal(seen[2:], x[2:])
    one = model.resolved(x, torch.tensor([True, True, True, False]))
    assert torch.equal(one[3], x[3])
    torch.testing.assert_close(one[2], seen[2])
    none = model.resolved(x, torch.zeros(4, dtype=torch.bool))
    assert torch.equal(none, x)


def test_the_adversary_pushes_the_encoder_the_other_way() -> None:
    """Its gradient in the encoder is -beta times that without reversal; in itself it is the plain one."""
    grads = {}
    for beta in (-1.0, 0.5):
        model = CQIL(SMALL, False, "none", True, beta=beta, seed=0)
        out = model(pictures(), heads=True)
        assert out.leaked is not None
        out.leaked.square().mean().backward()
        weight = model.backbone.net.stages[0][0].weight  # type: ignore[index, union-attr]
        assert model.adversary is not None
        grads[beta] = weight.grad, model.adversary[0].weight.grad
    torch.testing.assert_close(grads[0.5][0], -0.5 * grads[-1.0][0])
    torch.testing.assert_close(grads[0.5][1], grads[-1.0][1])


def test_the_rest_is_what_the_other_map_does_not_read() -> None:
    """Of (3, 4, 5) a map along the first axis leaves (0, 4, 5), whatever its length."""
    w = torch.tensor([[2.0, 0.0, 0.0]])
    left = torch.tensor([3.0, 4.0, 5.0]) @ rest_of(w, least=0.0)
    assert left.tolist() == [0.0, 4.0, 5.0]
    wide = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    p = rest_of(wide)
    torch.testing.assert_close(p, p.T)
    torch.testing.assert_close(p @ p, p, atol=1e-3, rtol=0)
    assert float((p @ wide.T).abs().max()) < 1e-3
    assert float(p.trace()) == pytest.approx(7, abs=1e-2)


def test_features_of_the_rest_hold_nothing_of_the_quality_map() -> None:
    model = CQIL(SMALL, False, "none", True, split="rest", width=3, seed=0).eval()
    out = model(pictures(), heads=True)
    assert out.features.shape == (4, 16)
    assert model.maps() is None
    assert model.quality is not None
    seen = (out.features @ model.quality.weight.T).detach()
    assert float(seen.abs().max()) < 1e-3 * float(out.features.detach().norm())
    (out.logits.sum() + out.leaked.sum()).backward()  # type: ignore[union-attr]
    assert model.quality.weight.grad is not None, "the map learns what to leave of the rest"


def test_a_fixed_net_says_the_same_and_is_kept_in_no_file() -> None:
    model = CQIL(SMALL, False, "none", True, split="rest", width=3, seed=0).eval()
    names = set(model.state_dict())
    with torch.no_grad():
        before = model(pictures())
        after = model.fixed()(pictures())
    assert torch.equal(before.logits, after.logits)
    assert set(model.state_dict()) == names


def test_any_timm_net_will_do() -> None:
    out = CQIL("test_convnext", False, "none", False)(pictures())
    assert out.logits.shape == (4, 2)


def test_the_small_net_has_the_widths_of_its_name() -> None:
    found = net_of("small-resnet-16-32-64-96")
    assert isinstance(found, SmallResNet)
    assert found(pictures(2, 48)).shape == (2, 96)
    assert found.forward_features(pictures(1, 48)).shape == (1, 96, 3, 3)
    assert sum(p.numel() for p in found.parameters()) == 213_264
    with pytest.raises(ConfigError, match="widths that never fall"):
        SmallResNet((32, 16))


def net_of(name: str) -> torch.nn.Module:
    from mien.nn import build_backbone

    return build_backbone(name)


def test_the_paper_recipe_has_the_size_of_its_parts() -> None:
    """ResNet-18 without its classifier has 11,176,512; the rest is ours."""
    recipe = RECIPES["paper"]()
    assert isinstance(recipe.method, CqilConfig)
    with torch.device("meta"):
        model = build_net(recipe.method, 224, 0, load=False)
    sqn, heads = 2 * (512 * 256 + 256), 2 * (256 * 256 + 256 + 256 + 1)
    contrast, decide = 256 * 256 + 256 + 256 * 64 + 64, 256 * 2 + 2
    resolver = (3 * 25 * 64 + 64) + 16 * (64 * 9 * 64 + 64) + (64 * 9 * 12 + 12)
    assert (
        sum(p.numel() for p in model.parameters()) == 11_176_512 + sqn + heads + contrast + decide + resolver
    )


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"expected pictures \(B, 3, H, W\)"):
        net()(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ConfigError, match="leaves nothing of 16 features beside width=16"):
        CQIL(SMALL, split="rest", width=16)
    with pytest.raises(ConfigError, match=r"leaves method\.orthogonal nothing"):
        CqilConfig(split="rest", orthogonal=0.01)
    with pytest.raises(ConfigError, match="size=30 is no multiple of 4"):
        build_net(CqilConfig(), 30, 0)
