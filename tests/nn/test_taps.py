from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from mien.core.errors import ConfigError, ShapeError
from mien.nn import Taps, as_map, as_tokens, build_face_net


def test_layouts_are_told_apart():
    x = torch.randn(2, 3, 4, 4)
    found = as_tokens(x)
    assert found.grid == (4, 4)
    for v in range(4):
        for u in range(4):
            assert torch.equal(found.values[:, 4 * v + u], x[:, :, v, u])
    last = as_tokens(x.permute(0, 2, 3, 1))
    assert torch.equal(last.values, found.values)
    assert last.grid == (4, 4)
    assert torch.equal(as_map(found.values, (4, 4)), x)
    wide = torch.randn(2, 3, 4, 5)
    assert as_tokens(wide, "bchw").grid == (4, 5)
    assert as_tokens(wide, "bhwc").grid == (3, 4)
    for unclear in (wide, torch.zeros(2, 4, 4, 4), torch.zeros(2, 4)):
        with pytest.raises(ShapeError, match="cannot tell the layout"):
            as_tokens(unclear)


def test_prefix_tokens_move_to_the_end():
    x = torch.randn(2, 18, 3)
    found = as_tokens(x, prefix=2)
    assert found.grid == (4, 4)
    assert torch.equal(found.values, torch.cat([x[:, 2:], x[:, :2]], 1))
    assert as_tokens(x).grid == (0, 0)
    assert as_map(found.values, (4, 4)).shape == (2, 3, 4, 4)
    with pytest.raises(ShapeError, match="more than 18 tokens"):
        as_tokens(x, prefix=18)
    with pytest.raises(ShapeError, match=r"of a grid \(0, 0\)"):
        as_map(x, (0, 0))
    with pytest.raises(ShapeError, match="expected features bchw"):
        as_tokens(x, "bchw")
    with pytest.raises(ConfigError, match="layout='x' is unknown"):
        as_tokens(x, "x")


@pytest.mark.parametrize("name", ["swin_tiny", "vit_tiny", "mbf_tiny", "ir_tiny"])
def test_own_nets_by_tap_and_by_module(name):
    torch.manual_seed(0)
    net = build_face_net(name, 48, 8).eval()
    x = torch.rand(2, 3, 48, 48)
    last = list(net.taps)[-1]
    out, found = Taps(net, [last, "stem"])(x)
    assert list(found) == [last, "stem"]
    assert torch.equal(out, net(x))
    channels, height, width = net.taps[last]
    assert found[last].values.shape == (2, height * width, channels)
    assert torch.equal(as_map(found[last].values, found[last].grid), net.forward_features(x)[last])


def test_a_module_of_an_own_net():
    net = build_face_net("swin_tiny", 48, 8).eval()
    x = torch.rand(1, 3, 48, 48)
    _, found = Taps(net, ["stages.1", "stage2"])(x)
    assert torch.equal(found["stages.1"].values, found["stage2"].values)


@pytest.mark.parametrize(
    ("name", "layer", "size", "grid", "shape"),
    [
        ("resnet18", "layer4", 64, (2, 2), (1, 4, 512)),
        ("swin_tiny_patch4_window7_224", "layers.3", 224, (7, 7), (1, 49, 768)),
        ("vit_tiny_patch16_224", "blocks.3", 224, (14, 14), (1, 197, 192)),
    ],
)
def test_nets_of_timm(name, layer, size, grid, shape):
    net = timm.create_model(name, pretrained=False, num_classes=0).eval()
    with torch.no_grad():
        out, found = Taps(net, [layer])(torch.zeros(1, 3, size, size))
    assert found[layer].grid == grid
    assert found[layer].values.shape == shape
    assert out.shape == (1, net.num_features)


def test_gradients_pass_and_no_hook_stays():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    taps = Taps(net, ["0"])
    _, found = taps(torch.randn(1, 3, 8, 8))
    found["0"].values.sum().backward()
    assert net[0].weight.grad is not None
    assert not any(m._forward_hooks for m in net.modules())
    with pytest.raises(RuntimeError):
        taps(torch.randn(1, 5, 8, 8))
    assert not any(m._forward_hooks for m in net.modules())


def test_outputs_with_several_parts():
    class Two(nn.Module):
        def forward(self, x):
            return None, x, x + 1

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two, self.idle = Two(), nn.Identity()

        def forward(self, x):
            return self.two(x)[1]

    x = torch.randn(1, 4, 2)
    assert torch.equal(Taps(Net(), ["two"])(x)[1]["two"].values, x)
    with pytest.raises(ConfigError, match="layer 'idle' was not run"):
        Taps(Net(), ["idle"])(x)


def test_unknown_names_suggest_the_nearest():
    net = build_face_net("swin_tiny", 48, 8)
    with pytest.raises(ConfigError, match=r"no layer 'stage_3'; did you mean 'stage3'\?"):
        Taps(net, ["stage_3"])
    with pytest.raises(ConfigError, match=r"no layer 'layer.1'; did you mean 'layers.1'\?"):
        Taps(nn.ModuleDict({"layers": nn.ModuleList([nn.ReLU(), nn.ReLU()])}), ["layer.1"])
