"""Batch normalisation over two processes equals that of the whole batch in one."""

from __future__ import annotations

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from mien.core.errors import ConfigError, ShapeError
from mien.nn import SyncBatchNorm, synchronised
from tests.losses.gloo import answers

F64, CPU = torch.float64, torch.device("cpu")
WORLD, C = 2, 5
SHAPES = {"map": (7, C, 3, 4), "timm": (7, C, 3, 4), "vector": (9, C), "line": (6, C, 4)}
KINDS = {"map": nn.BatchNorm2d, "timm": BatchNormAct2d, "vector": nn.BatchNorm1d, "line": nn.BatchNorm1d}
OPTIONS = {
    "plain": {},
    "bare": {"affine": False},
    "mean": {"momentum": None},
    "live": {"track_running_stats": False},
}
CASES = [(shape, option) for shape in SHAPES for option in OPTIONS]


def layer(shape, option, dtype=F64):
    g = torch.Generator().manual_seed(3)
    made = KINDS[shape](C, **OPTIONS[option]).to(dtype)
    for p in made.parameters():
        p.data = torch.randn(C, generator=g, dtype=dtype)
    return made


def data(shape, dtype=F64):
    """Values far from 0, as after a few layers, and what weighs them in the loss."""
    g = torch.Generator().manual_seed(4)
    return tuple(
        (torch.randn(SHAPES[shape], generator=g, dtype=F64) + shift).to(dtype) for shift in (3.0, 0.0)
    )


def trained(norm, x, factor, steps=2):
    """Output, gradients and buffers after a few passes."""
    x = x.clone().requires_grad_()
    for _ in range(steps):
        norm.zero_grad()
        x.grad = None
        y = norm(x)
        (y.square() * factor).sum().backward()
    return {
        "y": y.detach(),
        "x": x.grad,
        **{f"grad {n}": p.grad for n, p in norm.named_parameters()},
        **{f"buffer {n}": b.clone() for n, b in norm.named_buffers()},
        "eval": norm.eval()(x).detach(),
    }


def worker(rank, folder):
    out = {}
    for shape, option in CASES:
        norm = synchronised(layer(shape, option), CPU)
        assert isinstance(norm, SyncBatchNorm)
        # Unequal parts: 4 and 3 of 7 pictures.
        x, factor = (t.tensor_split(WORLD)[rank] for t in data(shape))
        out[f"{shape} {option}"] = trained(norm, x, factor)
    half = synchronised(layer("map", "plain", torch.float32), CPU)
    with torch.autocast("cpu", torch.bfloat16):
        out["bf16"] = half(data("map")[0].tensor_split(WORLD)[rank].bfloat16())
    torch.save(out, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return answers("tests.nn.test_sync_norm", WORLD, tmp_path_factory.mktemp("norm"))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.ddp
@pytest.mark.parametrize(("shape", "option"), CASES)
def test_two_processes_equal_one(ranks, shape, option):
    wanted = trained(layer(shape, option), *data(shape))
    found = [r[f"{shape} {option}"] for r in ranks]
    for name, value in wanted.items():
        if name.startswith("grad"):  # each process has the part of its own pictures
            close(sum(f[name] for f in found), value)
        elif name.startswith("buffer"):
            for f in found:
                close(f[name], value)
        elif not (name == "eval" and option == "live"):
            close(torch.cat([f[name] for f in found]), value)
    assert wanted["x"].abs().max() > 1e-2


@pytest.mark.ddp
def test_half_precision_is_normalised_in_full(ranks):
    found = torch.cat([r["bf16"] for r in ranks])
    wanted = layer("map", "plain", torch.float32)(data("map")[0].bfloat16().float())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted.detach(), rtol=0, atol=0.02)


def test_a_converted_net_keeps_weights_names_and_evaluation():
    net = nn.Sequential(
        nn.Conv2d(3, C, 1), nn.BatchNorm2d(C), nn.Sequential(nn.Flatten(), nn.BatchNorm1d(C * 4))
    )
    x = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    net(x)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    wanted = net.eval()(x)
    made = synchronised(net, CPU)
    assert [type(m) for m in made.modules() if "Norm" in type(m).__name__] == [SyncBatchNorm] * 2
    assert all(torch.equal(v, state[k]) for k, v in made.state_dict().items())
    assert torch.equal(made(x), wanted)


def test_what_cannot_be_spread_is_named():
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(ConfigError, match=r"cannot spread Own .* schedule.sync_bn=False"):
        synchronised(nn.Sequential(Own(3)), CPU)
    with pytest.raises(ShapeError, match=r"expected \(B, C, ...\), got \(3,\)"):
        synchronised(nn.BatchNorm1d(3), CPU)(torch.zeros(3))


def test_on_a_gpu_the_layers_are_torchs_own():
    net = nn.Sequential(nn.BatchNorm2d(C), BatchNormAct2d(C), nn.Sequential(nn.BatchNorm1d(C)))
    made = synchronised(net, torch.device("cuda"))
    assert [type(m).__name__ for m in made.modules() if "Norm" in type(m).__name__] == [
        "SyncBatchNorm",
        "SyncBatchNormAct",
        "SyncBatchNorm",
    ]
    assert all(isinstance(m, nn.SyncBatchNorm) for m in made.modules() if "Norm" in type(m).__name__)
