from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn

from mien.core.errors import ConfigError
from mien.methods.ncl.config import RECIPES
from mien.methods.ncl.loss import NCLLoss
from mien.methods.ncl.model import MultiExpertNet
from mien.methods.ncl.task import build_net, configs
from mien.nn.cifar_resnet import SmallConvNet
from mien.nn.heads import CosineHead

X = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def net(k=2, classes=5, head="linear", **options):
    torch.manual_seed(0)
    return MultiExpertNet("smallconv-4", k, classes, head, **options)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("head", ["linear", "cosine"])
@pytest.mark.parametrize("backbone", ["smallconv-4", "cifar-resnet-8"])
def test_forward_gives_raw_logits_of_every_expert(backbone, head, k):
    model = MultiExpertNet(backbone, k, 5, head)
    assert model(X).shape == (k, 4, 5)
    assert model.predict(X).shape == (4, 5)
    assert model.predict(X, 0).shape == (4, 5)


def test_ensemble_is_the_mean_of_raw_logits():
    model = net(3).eval()
    logits = model(X)
    assert torch.equal(model.predict(X), logits.mean(0))
    assert torch.equal(model.predict(X, "ensemble"), logits.mean(0))
    for k in range(3):
        torch.testing.assert_close(model.predict(X, k), logits[k])
    # not the mean of probabilities
    assert not torch.allclose(model.predict(X).softmax(-1), logits.softmax(-1).mean(0))


@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_exported_expert_is_forward_in_eval_and_holds_no_prior(head, shared):
    """Identity (l): training with a prior leaves none of it in the weights' use at test time."""
    model = net(2, head=head, shared_stages=shared)
    loss = NCLLoss([500, 100, 20, 5, 1], 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss(model(X), torch.tensor([0, 1, 2, 3]))["loss"].backward()
        optimizer.step()
    model.eval()
    for k in range(2):
        exported = model.export_expert(k).eval()
        torch.testing.assert_close(exported(X), model(X)[k], rtol=0, atol=0)
        assert not any("prior" in name for name, _ in exported.named_buffers())
        assert {id(p) for p in exported.parameters()} <= {id(p) for p in model.parameters()}


def test_expert_that_does_not_exist():
    for k in (2, -1, 99):
        with pytest.raises(ConfigError, match=f"expert {k} does not exist; there are 2"):
            net(2).export_expert(k)
        with pytest.raises(ConfigError, match="does not exist"):
            net(2).predict(X, k)


def test_experts_share_nothing():
    model = net(3)
    places = [{t.data_ptr() for t in (*e.parameters(), *e.buffers()) if t.numel()} for e in model.experts]
    for a, b in combinations(places, 2):
        assert not a & b
    first, second, _ = (torch.cat([p.flatten() for p in e.parameters() if p.ndim > 1]) for e in model.experts)
    assert not torch.equal(first, second)
    model(X)[0].sum().backward()
    assert all(p.grad is not None for p in model.experts[0].parameters())
    others = [p.grad for e in model.experts[1:] for p in e.parameters()]
    assert all(g is None or not g.any() for g in others)


@pytest.mark.parametrize(
    ("backbone", "count"), [("smallconv-4", 1), ("smallconv-4", 2), ("cifar-resnet-8", 3)]
)
def test_shared_stages_are_run_once_and_trained_by_all(backbone, count):
    whole = MultiExpertNet(backbone, 2, 5)
    model = MultiExpertNet(backbone, 2, 5, shared_stages=count)
    assert len(model.stem) == count
    assert parameters(model) == parameters(whole) - parameters(model.stem)
    calls = []
    model.stem.register_forward_hook(lambda *_: calls.append(1))
    logits = model(X)
    assert calls == [1]
    assert logits.shape == (2, 4, 5)
    for k in range(2):
        gradient = torch.autograd.grad(logits[k].sum(), next(model.stem.parameters()), retain_graph=True)[0]
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize(("backbone", "count"), [("smallconv-4", 3), ("smallconv-4", 9), ("resnet18", 1)])
def test_stages_that_cannot_be_shared(backbone, count):
    with torch.device("meta"), pytest.raises(ConfigError, match=f"shared_stages={count}"):
        MultiExpertNet(backbone, 2, 5, shared_stages=count)


def test_normalisation_is_part_of_the_model():
    model = net(1, mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7)).eval()
    shifted = (X - torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    torch.testing.assert_close(model(X)[0], model.experts[0](shifted))


def test_own_backbone_by_function():
    made = []

    def make():
        made.append(SmallConvNet(3, 1))
        return made[-1]

    model = MultiExpertNet(make, 3, 4, channels=1, mean=(0.5,), std=(0.5,))
    assert len(made) == 3
    assert model(torch.rand(2, 1, 12, 12)).shape == (3, 2, 4)


def test_heads():
    linear, cosine = net().experts[0].head, net(head="cosine", scale=32.0).experts[0].head
    assert isinstance(linear, nn.Linear)
    assert not linear.bias.any()
    assert isinstance(cosine, CosineHead)
    assert cosine.scale == 32.0
    assert not cosine.bias.any()
    # Kaiming-normal: standard deviation sqrt(2 / D)
    torch.manual_seed(0)
    wide = MultiExpertNet("smallconv-64", 1, 400).experts[0].head
    assert float(wide.weight.detach().std()) == pytest.approx((2 / 256) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("k", "classes"), [(0, 5), (2, 1)])
def test_wrong_numbers(k, classes):
    with pytest.raises(ConfigError, match="num_experts"):
        MultiExpertNet("smallconv-4", k, classes)


def test_resnet_32_has_the_parameters_of_the_page():
    model = MultiExpertNet("cifar-resnet-32", 2, 100)
    for expert in model.experts:
        assert parameters(expert.backbone) == 463_504
        assert parameters(expert.head) == 64 * 100 + 100
    assert parameters(model) == 2 * (463_504 + 6_500)


CLASSES = {"cifar10_lt": 10, "cifar100_lt": 100, "imagenet_lt": 1000, "places_lt": 365, "inat2018": 8142}


@pytest.mark.parametrize("name", [n for n in RECIPES if n.startswith("paper")])
def test_paper_nets_on_the_meta_device(name):
    """True sizes without memory; the large backbones have as many parameters as timm says."""
    import timm

    method, data = configs(RECIPES[name]())
    classes = CLASSES[data.kind]
    with torch.device("meta"):
        model = build_net(method, data, classes)
        logits = model(torch.empty(2, 3, data.size, data.size))
        if method.backbone.startswith("cifar"):
            expected, features = 463_504, 64
        else:
            reference = timm.create_model(method.backbone, num_classes=0)
            expected, features = parameters(reference), reference.num_features
    assert logits.shape == (method.experts, 2, classes)
    assert all(p.device.type == "meta" for p in model.parameters())
    for expert in model.experts:
        assert parameters(expert.backbone) == expected
        assert parameters(expert.head) == features * classes + classes
        assert isinstance(expert.head, CosineHead) == (method.head == "cosine")
    known = {"resnet50": 23_508_032, "resnet152": 58_143_808, "cifar-resnet-32": 463_504}
    assert expected == known[method.backbone]
