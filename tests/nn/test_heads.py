from __future__ import annotations

import math

import pytest
import torch

from mien.nn.heads import CosineHead, Normalize


def test_cosine_head_equals_its_loop():
    torch.manual_seed(0)
    head = CosineHead(5, 3, scale=16.0).double()
    torch.nn.init.normal_(head.bias)
    x = torch.randn(4, 5, dtype=torch.float64)
    head.requires_grad_(False)
    found = head(x)
    for i in range(4):
        for c in range(3):
            dot = sum(float(a) * float(b) for a, b in zip(x[i], head.weight[c], strict=True))
            norms = math.sqrt(float((x[i] ** 2).sum())) * math.sqrt(float((head.weight[c] ** 2).sum()))
            assert float(found[i, c]) == pytest.approx(16.0 * dot / norms + float(head.bias[c]), rel=1e-10)


def test_lengths_do_not_matter_and_the_scale_bounds_the_logits():
    torch.manual_seed(0)
    head = CosineHead(8, 4, scale=32.0)
    x = torch.randn(6, 8)
    torch.testing.assert_close(head(7.5 * x), head(x))
    assert head(x).abs().max() <= 32.0
    torch.testing.assert_close(head(head.weight.detach()).diagonal(), torch.full((4,), 32.0))
    assert torch.isfinite(head(torch.zeros(1, 8))).all()


def test_start_of_the_cosine_head():
    torch.manual_seed(0)
    head = CosineHead(64, 500)
    bound = 1 / 8
    assert head.weight.abs().max() <= bound
    assert float(head.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert head.bias.requires_grad
    assert not head.bias.any()
    assert CosineHead(4, 2, bias=False).bias is None


def test_gradcheck_of_the_cosine_head():
    torch.manual_seed(0)
    head = CosineHead(4, 3).double()
    assert torch.autograd.gradcheck(head, torch.randn(2, 4, dtype=torch.float64, requires_grad=True))


def test_normalize():
    layer = Normalize((0.1, 0.2), (0.5, 2.0))
    x = torch.rand(3, 2, 4, 4)
    torch.testing.assert_close(layer(x)[:, 0], (x[:, 0] - 0.1) / 0.5)
    torch.testing.assert_close(layer(x)[:, 1], (x[:, 1] - 0.2) / 2.0)
    assert layer.state_dict() == {}
