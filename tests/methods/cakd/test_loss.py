from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, MienError, ShapeError
from mien.methods.cakd import (
    URFM,
    CAKDLoss,
    CollapseGuard,
    FacialPositionEncoding,
    Grid,
    PromptedSwin,
    PromptedViT,
    auxiliary_input,
    new_centres,
)
from mien.methods.cakd.loss import attention_term, feature_term, scale_gradient, spreads
from mien.nn import Taps, build_face_net

F64 = torch.float64


def features(b=3, n=5, d=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(b, n, d, generator=g, dtype=F64) for _ in range(2)]


def loss(eta=0.1, **options):
    torch.manual_seed(0)
    return CAKDLoss(8, 2, eta, **options).double()


def tied(found):
    found.attention_s.load_state_dict(found.attention_t.state_dict())
    return found


def test_terms_equal_their_loops():
    h_t, h_s = features()
    net = loss().eval()
    found = net(h_t, h_s)
    assert found.keys() == {"feat", "attn"}
    (u_t, a_t), (u_s, a_s) = net.attention_t(h_t), net.attention_s(h_s)
    feat = [
        (u_t[b, i] / u_t[b, i].norm() - u_s[b, i] / u_s[b, i].norm()).square().sum()
        for b in range(3)
        for i in range(5)
    ]
    attn = [
        sum((a_t[b, h, i, j] - a_s[b, h, i, j]) ** 2 for j in range(5))
        for b in range(3)
        for h in range(2)
        for i in range(5)
    ]
    torch.testing.assert_close(found["feat"], torch.stack(feat).mean())
    torch.testing.assert_close(found["attn"], torch.stack(attn).mean())


def test_equal_tokens_and_tied_weights_cost_nothing():
    h, _ = features()
    net = tied(loss(eta=1.0))
    h_t, h_s = h.clone().requires_grad_(), h.clone().requires_grad_()
    terms = net(h_t, h_s)
    assert (terms["feat"].item(), terms["attn"].item()) == (0.0, 0.0)
    (terms["feat"] + terms["attn"]).backward()
    for x in (h_t, h_s, *net.parameters()):
        assert x.grad is None or not x.grad.any()


@pytest.mark.parametrize("eta", [0.0, 0.1, 1.0])
def test_eta_scales_what_reaches_the_teacher_and_nothing_else(eta):
    h_t, h_s = (x.requires_grad_() for x in features())

    def gradients(value):
        net = loss(eta=value)
        terms = net(h_t, h_s)
        total = terms["feat"] + terms["attn"]
        params = [h_t, h_s, *net.attention_t.parameters(), *net.attention_s.parameters()]
        grads = torch.autograd.grad(total, params, allow_unused=True, materialize_grads=True)
        return total.item(), grads

    (value, found), (whole, plain) = gradients(eta), gradients(1.0)
    assert value == whole
    own = (len(found) - 2) // 2
    for i in (0, *range(2, 2 + own)):
        torch.testing.assert_close(found[i], eta * plain[i])
    for i in (1, *range(2 + own, len(found))):
        torch.testing.assert_close(found[i], plain[i])


@pytest.mark.parametrize("eta", [0.0, 0.1])
@pytest.mark.parametrize("prompted", [PromptedSwin, PromptedViT])
def test_a_step_of_the_whole_method(prompted, eta):
    torch.manual_seed(0)
    name = "swin_tiny" if prompted is PromptedSwin else "vit_tiny"
    teacher, student = prompted(build_face_net(name, 48, 32), 4), build_face_net("mbf_tiny", 48, 32)
    centres, grid = new_centres(9, 16), Grid.of(student)
    code_s = FacialPositionEncoding(grid, dim=16)
    code_t = FacialPositionEncoding(teacher.grid, dim=16, unit=grid.stride, table=code_s.table)
    urfm_t = URFM(teacher.dim, 16, 9, 4, centres, code_t)
    urfm_s = URFM(student.taps["final"][0], 16, 9, 4, centres, code_s)
    net = CAKDLoss(16, 4, eta)
    x = torch.rand(3, 3, 48, 48)
    landmarks = torch.rand(3, 5, 2) * 48
    _, tokens = teacher(x)
    _, features_s = Taps(student, ["final"])(x)
    terms = net(urfm_t(tokens, landmarks)[0], urfm_s(features_s["final"].values, landmarks)[0])
    (terms["feat"] + terms["attn"]).backward()

    def moved(module):
        return {n for n, p in module.named_parameters() if p.grad is not None and p.grad.any()}

    assert moved(student) >= {"stages.0.0.0.weight", "stages.4.0.weight"}
    assert moved(urfm_s) >= {"centres", "fpe.table", "query.weight", "embed.0.weight"}
    assert not moved(teacher.backbone)
    assert moved(teacher) == ({f"prompts.{i}" for i in range(4)} if eta else set())
    assert ("query.weight" in moved(urfm_t)) == (eta > 0)
    assert bool(moved(net.attention_t)) == (eta > 0)


def test_scaled_gradient_keeps_the_values():
    x = torch.randn(100)
    assert torch.equal(scale_gradient(x, 0.1), x)
    assert not scale_gradient(x.requires_grad_(), 0.0).requires_grad


def test_gradcheck():
    h_t, h_s = (x.requires_grad_() for x in features(2, 3))
    net = loss(eta=1.0).eval()
    assert torch.autograd.gradcheck(lambda a, b: tuple(net(a, b).values()), (h_t, h_s))


def test_half_precision_comes_out_whole():
    h_t, h_s = (x.bfloat16() for x in features())
    terms = CAKDLoss(8, 2).bfloat16()(h_t, h_s)
    assert {t.dtype for t in terms.values()} == {torch.float32}


def test_range_of_the_terms():
    u = F.normalize(features()[0], dim=2)
    assert feature_term(u, -u).item() == pytest.approx(4.0)
    one, other = torch.eye(3)[None, None], torch.eye(3).roll(1, 0)[None, None]
    assert attention_term(one, other).item() == pytest.approx(2.0)


def test_auxiliary_input_is_the_mean():
    h, _ = features()
    torch.testing.assert_close(auxiliary_input(h), h.sum(1) / 5)


def test_spreads_equal_variances():
    u, _ = features()
    over_batch, over_tokens = spreads(u)
    torch.testing.assert_close(over_batch, u.var(0, unbiased=False).sum(-1).mean())
    torch.testing.assert_close(over_tokens, u.var(1, unbiased=False).sum(-1).mean())


@pytest.mark.parametrize("axis", ["batch", "token"])
@pytest.mark.parametrize("net", ["teacher", "student"])
def test_the_guard_stops_a_collapse(net, axis):
    u, v = features()
    guard = CollapseGuard()
    guard(u, v)
    assert torch.equal(guard.start, torch.stack([*spreads(u), *spreads(v)]).float())
    guard(0.1 * u, 0.1 * v)  # a hundredth of the variance
    assert guard.spread[f"{net}_{axis}"] < 0.011 * guard.start.max()
    flat = u.mean(0 if axis == "batch" else 1, keepdim=True) + 1e-3 * u
    with pytest.raises(MienError, match=f"the {net}'s local features vary over the {axis} by"):
        guard(*((flat, v) if net == "teacher" else (u, flat)))


def test_the_guard_trips_in_a_training_that_collapses():
    torch.manual_seed(0)
    # Only the distillation terms, and a teacher's side that may follow: constant features win.
    h_t, h_s = (x.float() for x in features(16, 4))
    net = CAKDLoss(8, 2, eta=1.0)
    squeeze_t, squeeze_s = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    optimizer = torch.optim.Adam(
        [*net.parameters(), *squeeze_t.parameters(), *squeeze_s.parameters()], lr=0.02
    )

    def train():
        for _ in range(400):
            optimizer.zero_grad()
            terms = net(squeeze_t(h_t), squeeze_s(h_s))
            (terms["feat"] + terms["attn"]).backward()
            optimizer.step()

    with pytest.raises(MienError, match="CAKD has collapsed"):
        train()


def test_the_guard_passes_over_single_pictures_and_is_kept():
    u, v = features()
    guard = CollapseGuard()
    guard(u[:1], v[:1])
    assert guard.start.isnan().tolist() == [True, False, True, False]
    guard(u, v)
    guard(u[:1], v[:1])
    other = CollapseGuard()
    other.load_state_dict(guard.state_dict())
    with pytest.raises(MienError, match=r"less than 0\.0001 of the"):
        other(torch.zeros_like(u), v)
    assert set(other.spread) == set(CollapseGuard.NAMES)


def test_the_guard_watches_in_training_only():
    h_t, h_s = features()
    net = loss()
    net.eval()(h_t, h_s)
    assert net.guard.start.isnan().all()
    net.train()(h_t, h_s)
    assert not net.guard.start.isnan().any()
    net.eval()(torch.ones_like(h_t), h_s)
    with pytest.raises(MienError, match="teacher"):
        net.train()(torch.ones_like(h_t), h_s)


def test_wrong_options_and_shapes():
    with pytest.raises(ConfigError, match="eta=-1 must be at least 0"):
        CAKDLoss(8, 2, -1)
    with pytest.raises(ConfigError, match="floor=1"):
        CAKDLoss(8, 2, floor=1)
    with pytest.raises(ConfigError, match="heads=3 must divide dim=8"):
        CAKDLoss(8, 3)
    with pytest.raises(ShapeError, match=r"twice, got \(3, 5, 8\), \(2, 5, 8\)"):
        loss()(features()[0], features(2)[0])
