from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from mien.core.errors import ConfigError
from mien.nn.backbones import build_backbone
from mien.nn.cifar_resnet import CifarResNet, SmallConvNet


def test_own_names():
    small, residual = build_backbone("smallconv-6", channels=1), build_backbone("cifar-resnet-20")
    assert isinstance(small, SmallConvNet)
    assert small.num_features == 24
    assert small(torch.rand(2, 1, 28, 28)).shape == (2, 24)
    assert isinstance(residual, CifarResNet)
    assert sum(len(stage) for stage in list(residual.stages)[1:]) == 9


def test_timm_names_give_pooled_features_without_a_classifier():
    with torch.device("meta"):
        net = build_backbone("resnet18", channels=1)
        assert net(torch.empty(2, 1, 64, 64)).shape == (2, net.num_features) == (2, 512)
    assert net.conv1.in_channels == 1


@pytest.mark.parametrize(
    "name", ["resnt50", "smallconv-", "smallconv-x", "smallconv-4-4", "", "os.system", "../resnet50"]
)
def test_unknown_names(name):
    with pytest.raises(ConfigError, match="unknown backbone"):
        build_backbone(name)


def test_a_part_of_a_name_gets_a_hint():
    with pytest.raises(ConfigError, match=r"timm has .*convnext"):
        build_backbone("convnext")


def test_depth_that_does_not_exist():
    with pytest.raises(ConfigError, match=r"6n\+2"):
        build_backbone("cifar-resnet-33")


def test_pretrained_weights_come_from_a_file(tmp_path):
    import timm

    torch.manual_seed(1)
    source = timm.create_model("resnet10t", num_classes=3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    net = build_backbone("resnet10t", pretrained=str(tmp_path / "w.safetensors"))
    wanted = source.state_dict()
    for name, value in net.state_dict().items():
        assert torch.equal(value, wanted[name]), name
