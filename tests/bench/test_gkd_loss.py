from __future__ import annotations

import pytest
import torch

from mien.bench import gkd_loss
from mien.bench.benches import BENCHES
from mien.core.errors import MienError
from mien.methods.gkd.loss import PRESETS, GKDLoss

KEYS = ("time_over_dense", "memory_over_dense", "time_over_kd", "memory_over_kd")


def test_keys_and_memory_at_a_small_size():
    entries, ratios = gkd_loss.bench((3000, 4000), 8, (2, 1))
    cases = {3000: ("plain", "margin", "adaptive"), 4000: ("plain", "margin")}
    wanted = {f"{key}_{c}" for key in KEYS for c in cases}
    wanted |= {f"{key}_{c}_{case}" for key in (*KEYS, "mean_k") for c in cases for case in cases[c]}
    assert set(ratios) == wanted
    assert ratios["time_over_dense_3000"] == max(ratios[f"time_over_dense_3000_{c}"] for c in cases[4000])
    names = [f"{name}_{case}_{c}" for c in cases for case in cases[c] for name in ("gkd", "dense", "kd")]
    assert [e["name"] for e in entries] == names
    of = {e["name"]: e["peak_mb"] * 2**20 / (4 * 8 * 3000) for e in entries if "3000" in e["name"]}
    # The gradient and what a block of rows needs; the dense form keeps masks and softmaxes.
    assert 1.0 < of["gkd_plain_3000"] < 2.5
    assert of["dense_plain_3000"] > 5.5
    assert ratios["mean_k_3000_plain"] == 5
    assert ratios["mean_k_3000_margin"] > 20


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("margin", [False, True])
def test_the_dense_form_is_the_same_loss(name, margin):
    zs, zt, y = gkd_loss.make_logits(700, 9, margin=margin)
    grads, values = [], []
    gkd = GKDLoss(gkd_loss.ALPHA, gkd_loss.BETA, T=gkd_loss.T, selector=PRESETS[name], warmup_epochs=0)
    # No group is everything, where the dense form is not a number.
    if name == "release-fixed":
        gkd.selector = type(gkd.selector)("student", k_min=90, k_max=90)
    for loss in (lambda *b: gkd(*b)[0], lambda *b: gkd_loss.dense_loss(gkd.selector, *b)):
        z = zs.detach().double().requires_grad_()
        values.append(loss(z, zt.double(), y))
        values[-1].backward()
        grads.append(z.grad)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*grads)


def test_a_difference_is_an_error():
    g = torch.ones(2, 3)
    gkd_loss._check_agreement(1.0, 1.0, g.clone(), g)
    for value, grad in ((1.01, g.clone()), (1.0, 1.1 * g)):
        with pytest.raises(MienError, match="differ from the dense form's"):
            gkd_loss._check_agreement(value, 1.0, grad, g)


def test_it_is_in_the_table():
    assert BENCHES["gkd"][0] == "mien.bench.gkd_loss"
