from __future__ import annotations

import math
from itertools import permutations, product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, ShapeError
from mien.methods.ncl.loss import (
    BalancedSoftmaxLoss,
    NCLLoss,
    balanced_cross_entropy,
    balanced_online_distillation,
    hard_category_mask,
    log_prior,
    pairwise_kl,
)

MODES = ("set", "zero", "restricted")
REDUCTIONS = ("paper", "released")
TERMS = ("bal_full", "bal_hard", "inter_full", "inter_hard", "intra_full", "intra_hard")
TOL = {"atol": 2e-6, "rtol": 0.0}

# The worked examples 2 and 3 of the method's page.
COUNTS = [50, 20, 10, 4, 2]
LOGITS = torch.tensor(
    [
        [[2.0, 1.0, 0.5, 0.0, -1.0], [0.2, -0.4, 1.2, 0.1, 0.9]],
        [[1.5, 1.4, -0.2, 0.3, -0.6], [0.5, 0.0, 0.7, -0.3, 1.3]],
    ]
)


def case(k=2, copies=2, images=3, classes=6, *, seed=0, spread=2.0, dtype=torch.float64):
    """Random logits (K, M B, C), copy-major targets, and uneven counts."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(k, copies * images, classes, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (images,), generator=generator).repeat(copies)
    counts = [int(300 * 0.5**c) + 1 for c in range(classes)]
    return logits.to(dtype), target, counts


def near(found, expected, **tolerance):
    torch.testing.assert_close(
        torch.as_tensor(found).double(), torch.tensor(expected).double(), **(tolerance or TOL)
    )
    return True


# ---------------------------------------------------------------- the loop-written twin


def twin_softmax(z):
    top = max(z)
    e = [math.exp(v - top) for v in z]
    return [v / sum(e) for v in e]


def twin_hard_set(z, y, n):
    others = sorted((c for c in range(len(z)) if c != y), key=lambda c: (-z[c], c))
    return [y, *others[: n - 1]]


def twin_partial(adjusted, hard, mode):
    """Probabilities on the hard set, as a list; in zero mode over all classes."""
    if mode == "set":
        return twin_softmax([adjusted[c] for c in hard])
    if mode == "zero":
        return twin_softmax([adjusted[c] if c in hard else 0.0 for c in range(len(adjusted))])
    full = twin_softmax(adjusted)
    return [full[c] for c in hard]


def twin_bod(rows, mode, reduction):
    """``rows[q][i]`` is the distribution q of sample i."""
    q, samples = len(rows), len(rows[0])
    total = 0.0
    for a, b in permutations(range(q), 2):
        for i in range(samples):
            for p, r in zip(rows[a][i], rows[b][i], strict=True):
                total += p * (math.log(p) - math.log(r)) / samples
    if reduction == "paper":
        return total / (q * (q - 1))
    return total / (q - 1) if mode == "zero" else 2 * total / (q * (q - 1))


def twin_total(logits, target, counts, n_hard, lam, lam_intra, mode, reduction, inter, intra, copies):
    z, y = logits.tolist(), target.tolist()
    experts, rows, classes = len(z), len(y), len(counts)
    adjusted = [
        [[z[k][r][c] + math.log(counts[c]) for c in range(classes)] for r in range(rows)]
        for k in range(experts)
    ]
    full = [[twin_softmax(adjusted[k][r]) for r in range(rows)] for k in range(experts)]
    sets = [twin_hard_set(z[0][r], y[r], n_hard) for r in range(rows)] if n_hard else None
    out = dict.fromkeys(TERMS, 0.0)
    for k in range(experts):
        for r in range(rows):
            out["bal_full"] -= math.log(full[k][r][y[r]]) / rows
            if sets:
                supervised = "set" if mode == "set" else "zero"
                p = twin_partial(adjusted[k][r], sets[r], supervised)
                out["bal_hard"] -= math.log(p[0] if supervised == "set" else p[y[r]]) / rows
    if inter and experts > 1:
        out["inter_full"] = twin_bod(full, mode, reduction)
        if sets:
            hard = [
                [twin_partial(adjusted[k][r], sets[r], mode) for r in range(rows)] for k in range(experts)
            ]
            out["inter_hard"] = twin_bod(hard, mode, reduction)
    if intra and copies > 1:
        images = rows // copies
        for k in range(experts):
            same = [[full[k][m * images + i] for i in range(images)] for m in range(copies)]
            out["intra_full"] += twin_bod(same, mode, reduction)
            if sets:
                same = [
                    [twin_partial(adjusted[k][m * images + i], sets[i], mode) for i in range(images)]
                    for m in range(copies)
                ]
                out["intra_hard"] += twin_bod(same, mode, reduction)
    out["loss"] = out["bal_full"] + out["bal_hard"] + lam * (out["inter_full"] + out["inter_hard"])
    out["loss"] += lam_intra * (out["intra_full"] + out["intra_hard"])
    return out


@pytest.mark.parametrize(("k", "copies"), [(1, 1), (2, 2), (3, 1), (1, 3), (3, 4)])
@pytest.mark.parametrize(("mode", "reduction"), list(product(MODES, REDUCTIONS)))
def test_every_term_equals_its_loop_written_twin(mode, reduction, k, copies):
    logits, target, counts = case(k, copies, seed=k + 7 * copies)
    for inter, intra, n_hard in [
        (True, True, 3),
        (True, False, 2),
        (False, True, 6),
        (False, False, 1),
        (True, True, 0),
    ]:
        loss = NCLLoss(counts, n_hard, 0.3, 0.7, 0.4, mode, reduction, inter, intra, copies)
        found = loss(logits, target)
        expected = twin_total(logits, target, counts, n_hard, 0.7, 0.4, mode, reduction, inter, intra, copies)
        assert set(found) == set(expected)
        for name, value in expected.items():
            # ln n is kept in float32: about 1e-7 of relative error.
            assert float(found[name]) == pytest.approx(value, rel=2e-6, abs=1e-6), name


@pytest.mark.parametrize("q", [2, 3, 5])
@pytest.mark.parametrize(("mode", "reduction"), list(product(MODES, REDUCTIONS)))
def test_distillation_equals_its_twin(mode, reduction, q):
    logits, target, counts = case(q, 1, 4, seed=q)
    index = hard_category_mask(logits[0], target, 3)
    adjusted = [
        [[v + math.log(n) for v, n in zip(row, counts, strict=True)] for row in e] for e in logits.tolist()
    ]
    full = [[twin_softmax(row) for row in e] for e in adjusted]
    hard = [[twin_partial(r, index[i].tolist(), mode) for i, r in enumerate(e)] for e in adjusted]
    prior = log_prior(counts)
    found = balanced_online_distillation(logits, prior, None, mode, reduction)
    assert near(found, twin_bod(full, mode, reduction), rtol=1e-5, atol=1e-7)
    found = balanced_online_distillation(logits, prior, index, mode, reduction)
    assert near(found, twin_bod(hard, mode, reduction), rtol=1e-5, atol=1e-7)


def test_pairwise_kl_equals_a_double_loop_and_never_goes_below_zero():
    logp = torch.randn(4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).log_softmax(
        -1
    )
    expected = sum(
        F.kl_div(logp[b], logp[a], reduction="none", log_target=True).sum(-1)
        for a, b in permutations(range(4), 2)
    )
    torch.testing.assert_close(pairwise_kl(logp), expected)
    assert (pairwise_kl(logp[:2]) >= 0).all()
    # the two-distribution form agrees with the general one
    doubled = pairwise_kl(torch.stack([logp[0], logp[1], logp[0], logp[1]]))
    torch.testing.assert_close(doubled, 4 * pairwise_kl(logp[:2]))


# ---------------------------------------------------------------- worked examples


def test_worked_example_1():
    z, y = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([2])
    prior = log_prior([100, 10, 1])
    assert near((z + prior).softmax(-1)[0], [0.963260, 0.035436, 0.001304])
    assert near(balanced_cross_entropy(z, y, prior), 6.642602)
    assert near(BalancedSoftmaxLoss([100, 10, 1])(z, y), 6.642602)
    assert near(F.cross_entropy(z, y), 2.407606)
    assert near(NCLLoss([100, 10, 1], 0, balanced=False)(z[None], y)["loss"], 2.407606)


def test_worked_example_2_hard_sets_and_partial_distributions():
    target = torch.tensor([3, 4])
    index = hard_category_mask(LOGITS[0], target, 3)
    assert index.tolist() == [[3, 0, 1], [4, 2, 0]]
    adjusted = LOGITS + log_prior(COUNTS)
    partial = adjusted.gather(-1, index.expand(2, 2, 3)).softmax(-1)
    assert near(partial[0, 0], [0.009350, 0.863574, 0.127076])
    assert near(partial[0, 1], [0.049594, 0.334721, 0.615685])
    assert near(partial[1, 0], [0.017385, 0.721485, 0.261131])
    assert near(partial[1, 1], [0.066768, 0.183215, 0.750018])


def test_worked_example_2_set_and_paper():
    found = NCLLoss(COUNTS, 3)(LOGITS, torch.tensor([3, 4]))
    assert near(found["bal_full"], 7.429472)
    assert near(found["bal_hard"], 7.217503)
    assert near(found["inter_full"], 0.062486)
    assert near(found["inter_hard"], 0.062500)
    assert near(found["loss"], 14.721967)
    assert found["intra_full"] == found["intra_hard"] == 0


def test_worked_example_2_released_ncl():
    """Zero mode with 1/(Q-1), NCL's own factor."""
    target = torch.tensor([3, 4])
    found = NCLLoss(COUNTS, 3, hcm_mode="zero", reduction="released")(LOGITS, target)
    assert near(found["bal_full"], 7.429472)
    assert near(found["bal_hard"], 7.242042)
    assert near(found["inter_full"], 0.124973)
    assert near(found["inter_hard"], 0.123860)
    assert near(found["loss"], 14.820814)
    index = hard_category_mask(LOGITS[0], target, 3)
    assert near(balanced_online_distillation(LOGITS, log_prior(COUNTS), index, "zero", "released"), 0.123860)


def test_worked_example_3_set_and_paper():
    target = torch.tensor([3, 3])
    assert [set(row) for row in hard_category_mask(LOGITS[0], target, 3).tolist()] == [{0, 1, 3}, {2, 3, 4}]
    found = NCLLoss(COUNTS, 3, intra=True, copies=2)(LOGITS, target)
    assert near(found["bal_full"], 7.936325)
    assert near(found["bal_hard"], 6.659098)
    assert near(found["inter_full"], 0.062486)
    assert near(found["inter_hard"], 0.059832)
    assert near(found["intra_full"], 0.408896 + 0.216456)
    assert near(found["intra_hard"], 0.052916 + 0.016421)
    assert near(found["loss"], 15.085628)
    # one expert at a time, through the public function: the hard set is the first copy's
    first = hard_category_mask(LOGITS[0], target, 3)[:1]
    for expert, full, hard in zip(LOGITS, (0.408896, 0.216456), (0.052916, 0.016421), strict=True):
        copies = expert[:, None]
        assert near(balanced_online_distillation(copies, log_prior(COUNTS)), full)
        assert near(balanced_online_distillation(copies, log_prior(COUNTS), first), hard)


def test_worked_example_3_released_ncl_plus_plus():
    """Restricted mode with 2/(Q(Q-1)), the factor of the NCL++ release."""
    options = {"intra": True, "hcm_mode": "restricted", "reduction": "released"}
    target = torch.tensor([3, 3])
    found = NCLLoss(COUNTS, 3, copies=2, **options)(LOGITS, target)
    assert near(found["bal_full"] + found["bal_hard"], 14.655753)
    assert near(found["inter_full"] + found["inter_hard"], 0.233757)
    assert near(found["intra_full"] + found["intra_hard"], 1.002701 + 0.497890)
    assert near(found["loss"], 15.696362, atol=3e-6, rtol=0.0)
    first = hard_category_mask(LOGITS[0], target, 3)[:1]
    for expert, expected in zip(LOGITS, (1.002701, 0.497890), strict=True):
        parts = [
            balanced_online_distillation(expert[:, None], log_prior(COUNTS), index, "restricted", "released")
            for index in (None, first)
        ]
        assert near(sum(parts), expected)


def test_released_factors_at_three_experts():
    """1/(Q-1) and 2/(Q(Q-1)) agree at Q = 2 only."""
    logits, _, counts = case(3, 1, 4)
    prior = log_prior(counts)
    paper = balanced_online_distillation(logits, prior)
    for mode, times in (("set", 2.0), ("restricted", 2.0), ("zero", 3.0)):
        released = balanced_online_distillation(logits, prior, None, mode, "released")
        torch.testing.assert_close(released, times * paper)


# ---------------------------------------------------------------- identities (a) to (l)


def test_a_equal_counts_give_cross_entropy():
    logits, target, _ = case(1, 1, 9)
    for n in (1, 37):
        torch.testing.assert_close(
            BalancedSoftmaxLoss([n] * 6)(logits[0], target), F.cross_entropy(logits[0], target)
        )


@pytest.mark.parametrize("mode", MODES)
def test_b_all_classes_hard_give_the_full_terms(mode):
    logits, target, counts = case(3, 2)
    found = NCLLoss(counts, len(counts), hcm_mode=mode, intra=True, copies=2)(logits, target)
    for name in ("bal", "inter", "intra"):
        torch.testing.assert_close(found[f"{name}_hard"], found[f"{name}_full"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_c_nothing_switched_on_is_balanced_softmax_to_the_bit(dtype):
    logits, target, counts = case(1, 1, 64, 10, dtype=dtype)
    first = logits.clone().requires_grad_()
    loss = NCLLoss(counts, 0, inter=True, intra=True)(first, target)["loss"]
    second = logits.clone().requires_grad_()
    plain = balanced_cross_entropy(second[0], target, log_prior(counts))
    assert torch.equal(loss, plain)
    loss.backward()
    plain.backward()
    assert torch.equal(first.grad, second.grad)


@pytest.mark.parametrize("q", [2, 3])
@pytest.mark.parametrize(("mode", "reduction"), list(product(MODES, REDUCTIONS)))
def test_d_identical_experts_have_no_loss_and_no_gradient(mode, reduction, q):
    one, target, counts = case(1, 1, 5)
    logits = one.repeat(q, 1, 1).requires_grad_()
    for index in (None, hard_category_mask(logits[0], target, 3)):
        value = balanced_online_distillation(logits, log_prior(counts), index, mode, reduction)
        (gradient,) = torch.autograd.grad(value, logits)
        assert float(value.detach()) == pytest.approx(0, abs=1e-14)
        assert gradient.abs().max() < 1e-14


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 1000), st.sampled_from(MODES), st.sampled_from(REDUCTIONS))
def test_e_order_of_experts_does_not_matter(order, seed, mode, reduction):
    logits, target, counts = case(4, 1, 3, seed=seed)
    prior, index = log_prior(counts), hard_category_mask(logits[0], target, 3)
    for chosen in (None, index):
        torch.testing.assert_close(
            balanced_online_distillation(logits[list(order)], prior, chosen, mode, reduction),
            balanced_online_distillation(logits, prior, chosen, mode, reduction),
        )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-30, 30), min_size=6, max_size=6),
    st.integers(0, 1000),
    st.sampled_from(["set", "restricted"]),
)
def test_e_shift_of_a_sample_does_not_matter(shift, seed, mode):
    """Each expert's logits of each sample may move by a constant of their own."""
    logits, target, counts = case(2, 1, 3, seed=seed)
    moved = logits + torch.tensor(shift, dtype=torch.float64).view(2, 3, 1)
    prior, index = log_prior(counts), hard_category_mask(logits[0], target, 3)
    torch.testing.assert_close(
        balanced_online_distillation(moved, prior, index, mode),
        balanced_online_distillation(logits, prior, index, mode),
    )
    if mode == "set":
        found, base = (NCLLoss(counts, 3, intra=True)(z, target) for z in (moved, logits))
        for name in base:
            torch.testing.assert_close(found[name], base[name])


def test_e_zero_mode_depends_on_the_level_of_the_logits():
    logits, target, counts = case(2, 1, 3)
    index, prior = hard_category_mask(logits[0], target, 3), log_prior(counts)
    first, second = (balanced_online_distillation(z, prior, index, "zero") for z in (logits, logits - 5))
    assert abs(float(first - second)) > 1e-3
    first, second = (NCLLoss(counts, 3, hcm_mode="zero")(z, target)["bal_hard"] for z in (logits, logits - 5))
    assert abs(float(first - second)) > 1e-3


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 100_000), st.integers(0, 1000))
def test_f_scaling_all_counts_does_not_matter_in_set_mode(factor, seed):
    logits, target, counts = case(2, 2, seed=seed)
    found, base = (
        NCLLoss(n, 3, intra=True, copies=2)(logits, target) for n in ([factor * n for n in counts], counts)
    )
    for name in base:
        torch.testing.assert_close(found[name], base[name], rtol=1e-5, atol=1e-6)


def test_f_scaling_all_counts_matters_in_zero_mode():
    logits, target, counts = case(2, 1)
    found, base = (NCLLoss(n, 3, hcm_mode="zero")(logits, target) for n in ([50 * n for n in counts], counts))
    assert abs(float(found["bal_hard"] - base["bal_hard"])) > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_g_hard_set_is_the_target_and_the_highest_negatives(data):
    classes = data.draw(st.integers(1, 7))
    n = data.draw(st.integers(1, classes))
    # few levels: ties are common
    scores = data.draw(
        st.lists(st.lists(st.integers(-2, 2), min_size=classes, max_size=classes), min_size=1, max_size=4)
    )
    target = data.draw(st.lists(st.integers(0, classes - 1), min_size=len(scores), max_size=len(scores)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]))
    found = hard_category_mask(torch.tensor(scores, dtype=dtype), torch.tensor(target), n)
    assert found.dtype == torch.int64
    assert found.shape == (len(scores), n)
    assert found.tolist() == [twin_hard_set(z, y, n) for z, y in zip(scores, target, strict=True)]


def test_g_ties_among_thousands_of_classes_go_to_the_lowest_index():
    scores = torch.randint(3, (2, 8142), generator=torch.Generator().manual_seed(0)).float()
    target = torch.tensor([8141, 5])
    found = hard_category_mask(scores, target, 4000)
    assert found.tolist() == [
        twin_hard_set(z, y, 4000) for z, y in zip(scores.tolist(), target.tolist(), strict=True)
    ]


def test_g_target_is_first_also_when_it_is_the_argmax():
    z = torch.tensor([[0.0, 9.0, 1.0, 2.0], [9.0, 9.0, 9.0, 9.0], [5.0, 5.0, 1.0, 5.0]])
    found = hard_category_mask(z, torch.tensor([1, 3, 2]), 3)
    assert found.tolist() == [[1, 3, 2], [3, 0, 1], [2, 0, 1]]
    assert hard_category_mask(z, torch.tensor([1, 3, 2]), 1).tolist() == [[1], [3], [2]]


def test_g_hard_set_comes_from_raw_logits_of_expert_0():
    """Neither the prior nor another expert decides."""
    counts, target = [1000, 1, 1, 1], torch.tensor([1])
    logits = torch.tensor([[[0.0, 0.0, 1.0, 0.5]], [[0.0, 0.0, -9.0, 5.0]]])
    hard = NCLLoss(counts, 2)(logits, target)["bal_hard"]  # {1, 2}: class 0 would lead with the prior inside
    expected = sum(float(F.cross_entropy(z[:, [1, 2]], torch.tensor([0]))) for z in logits)
    assert near(hard, expected)


def test_h_hard_cross_entropy_is_at_most_the_full_one_and_zero_mode_at_least_set_mode():
    logits, target, counts = case(1, 1, 40, seed=3)
    for i in range(40):
        row, y = logits[:, i : i + 1], target[i : i + 1]
        chosen = NCLLoss(counts, 3)(row, y)
        assert chosen["bal_hard"] <= chosen["bal_full"] + 1e-12
        assert NCLLoss(counts, 3, hcm_mode="zero")(row, y)["bal_hard"] >= chosen["bal_hard"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(("mode", "reduction"), list(product(MODES, REDUCTIONS)))
def test_i_gradients_stay_finite_where_probabilities_vanish(mode, reduction, k, dtype):
    """Multiplying a restricted KL by a mask gives NaN here; logits of 80 make p exactly 0 in float32."""
    signs = torch.randint(2, (k, 8, 6), generator=torch.Generator().manual_seed(0)) * 2 - 1
    logits = (80.0 * signs).to(dtype).requires_grad_()
    target = torch.arange(4).repeat(2)
    found = NCLLoss([500, 100, 50, 20, 5, 1], 3, hcm_mode=mode, reduction=reduction, intra=True, copies=2)(
        logits, target
    )
    for name, value in found.items():
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value), name
    found["loss"].backward()
    assert logits.grad.dtype == dtype
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", MODES)
def test_i_autocast_leaves_the_loss_in_float32(mode):
    logits, target, counts = case(2, 2, dtype=torch.bfloat16)
    loss = NCLLoss(counts, 3, hcm_mode=mode, intra=True, copies=2)
    plain = loss(logits.float(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(logits, target)
    for name in plain:
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], plain[name])


@pytest.mark.parametrize("q", [2, 3])
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(("mode", "reduction"), list(product(MODES, REDUCTIONS)))
def test_j_gradcheck_of_distillation(mode, reduction, hard, q):
    logits, target, counts = case(q, 1, 3, 5, seed=q)
    index = hard_category_mask(logits[0], target, 3) if hard else None
    prior = log_prior(counts)
    assert torch.autograd.gradcheck(
        lambda z: balanced_online_distillation(z, prior, index, mode, reduction), logits.requires_grad_()
    )


@pytest.mark.parametrize("name", [*TERMS, "loss"])
@pytest.mark.parametrize("mode", MODES)
def test_j_gradcheck_of_every_term(mode, name):
    logits, target, counts = case(2, 2, 2, 5, seed=1)
    loss = NCLLoss(counts, 3, hcm_mode=mode, intra=True, copies=2)
    assert torch.autograd.gradcheck(lambda z: loss(z, target)[name], logits.requires_grad_())


def test_j_gradcheck_of_balanced_softmax():
    logits, target, counts = case(1, 1, 4)
    assert torch.autograd.gradcheck(BalancedSoftmaxLoss(counts), (logits[0].requires_grad_(), target))


@pytest.mark.parametrize(("mode", "reduction"), list(product(MODES, REDUCTIONS)))
def test_k_distillation_reaches_every_expert(mode, reduction):
    logits, target, counts = case(3, 1, 4)
    logits.requires_grad_()
    for index in (None, hard_category_mask(logits[0], target, 3)):
        value = balanced_online_distillation(logits, log_prior(counts), index, mode, reduction)
        (gradient,) = torch.autograd.grad(value, logits)
        assert (gradient.abs().amax(dim=(1, 2)) > 1e-6).all()


def test_one_distribution_has_zero_distillation_with_zero_gradient():
    logits, _, counts = case(1, 1, 4)
    logits.requires_grad_()
    value = balanced_online_distillation(logits, log_prior(counts))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value == 0
    assert not gradient.any()


def test_one_restricted_pair_may_be_negative_but_both_directions_together_are_not():
    logits, target, counts = case(2, 1, 200, seed=5)
    index = hard_category_mask(logits[0], target, 2)
    logp = (logits + log_prior(counts)).log_softmax(-1).gather(-1, index.expand(2, -1, -1))
    one_way = (logp[0].exp() * (logp[0] - logp[1])).sum(-1)
    assert one_way.min() < 0
    assert (pairwise_kl(logp) >= 0).all()


# ---------------------------------------------------------------- layout, defaults, wrong input


def test_copies_are_copy_major():
    """Rows m B + i are copy m of image i: IntraCL pairs row i with row B + i."""
    logits, _, counts = case(1, 1, 3, seed=2)
    loss = NCLLoss(counts, 3, intra=True, copies=2)
    target = torch.tensor([0, 1, 2])
    copy_major = loss(torch.cat([logits, logits], dim=1), target.repeat(2))
    assert copy_major["intra_full"] == 0
    assert copy_major["intra_hard"] == 0
    image_major = loss(logits.repeat_interleave(2, dim=1), target.repeat_interleave(2))
    assert image_major["intra_full"] > 1e-3


def test_hard_set_of_the_first_copy_serves_all_copies():
    """A change of the other copies' ranking does not change the sets, only the logits on them."""
    counts, target = [1] * 4, torch.tensor([0, 0])
    logits = torch.tensor([[[0.0, 3.0, 1.0, 0.0], [0.0, 1.0, 5.0, 0.0]]])
    found = NCLLoss(counts, 2, intra=True, copies=2)(logits, target)["intra_hard"]
    p, q = logits[0, 0, :2].log_softmax(-1), logits[0, 1, :2].log_softmax(-1)
    assert near(found, 0.5 * float(((p.exp() - q.exp()) * (p - q)).sum()))


def test_each_expert_has_its_own_intra_term_and_lam_intra_weighs_it():
    logits, target, counts = case(2, 2)
    both = NCLLoss(counts, 3, intra=True, copies=2, lam=0.5, lam_intra=0.25)(logits, target)
    each = [NCLLoss(counts, 6, intra=True, copies=2)(z[None], target)["intra_full"] for z in logits]
    torch.testing.assert_close(both["intra_full"], each[0] + each[1])
    expected = both["bal_full"] + both["bal_hard"] + 0.5 * (both["inter_full"] + both["inter_hard"])
    expected = expected + 0.25 * (both["intra_full"] + both["intra_hard"])
    torch.testing.assert_close(both["loss"], expected)
    assert NCLLoss(counts, lam=0.5).lam_intra == 0.5


def test_weight_doubles_the_supervised_terms_only():
    logits, target, counts = case(2, 1)
    base, twice = (NCLLoss(counts, 3, weight=w)(logits, target) for w in (1.0, 2.0))
    torch.testing.assert_close(twice["loss"] - base["loss"], base["bal_full"] + base["bal_hard"])
    for name in TERMS:
        assert torch.equal(base[name], twice[name])


def test_unbalanced_is_plain_softmax():
    logits, target, counts = case(2, 1)
    found, equal = NCLLoss(counts, 3, balanced=False), NCLLoss([1] * 6, 3)
    for name, value in equal(logits, target).items():
        assert torch.equal(found(logits, target)[name], value)


@pytest.mark.parametrize(("classes", "expected"), [(10, 3), (100, 30), (365, 109), (3, 2)])
def test_default_size_of_the_hard_set(classes, expected):
    assert NCLLoss([1] * classes).n_hard == expected


def test_prior_is_ln_n_and_a_class_without_images_counts_as_one():
    assert near(log_prior([100, 1, 0]), [math.log(100), 0.0, 0.0])
    logits, target, _ = case(1, 1, 4, 3)
    assert torch.equal(
        BalancedSoftmaxLoss([9, 1, 0])(logits[0], target), BalancedSoftmaxLoss([9, 1, 1])(logits[0], target)
    )
    assert log_prior(torch.tensor([3, 2])).dtype == torch.float32


def test_prior_moves_with_the_module_but_is_no_weight():
    loss = NCLLoss([3, 2, 1], 2)
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []
    assert loss.to("meta").prior.device.type == "meta"


@pytest.mark.parametrize("counts", [[], [1, -1], [1.0, math.nan], [1.0, math.inf], [[1, 2]]])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(ConfigError, match="cls_num_list"):
        log_prior(counts)


@pytest.mark.parametrize("n_hard", [-1, 7])
def test_hard_set_size_out_of_range(n_hard):
    with pytest.raises(ConfigError, match="n_hard"):
        NCLLoss([1] * 6, n_hard)
    with pytest.raises(ConfigError, match="n_hard"):
        hard_category_mask(torch.zeros(2, 6), torch.tensor([0, 1]), n_hard)


def test_hard_set_of_none_is_no_set():
    with pytest.raises(ConfigError, match="n_hard"):
        hard_category_mask(torch.zeros(2, 6), torch.tensor([0, 1]), 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hcm_mode": "sets"}, "mode='sets'"),
        ({"reduction": "mean"}, "reduction='mean'"),
        ({"copies": 0}, "copies=0"),
    ],
)
def test_unknown_options_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        NCLLoss([1] * 6, **options)


def test_distillation_refuses_unknown_options():
    for options in ({"mode": "sets"}, {"reduction": "mean"}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            balanced_online_distillation(torch.zeros(2, 3, 4), torch.zeros(4), **options)


@pytest.mark.parametrize(
    ("shape", "rows", "copies"),
    [((4, 6), 4, 1), ((2, 4, 5), 4, 1), ((2, 4, 6), 3, 1), ((2, 5, 6), 5, 2), ((2, 2, 4, 6), 2, 1)],
)
def test_wrong_shapes_of_the_total_loss(shape, rows, copies):
    with pytest.raises(ShapeError, match=r"expected logits|multiple of copies"):
        NCLLoss([1] * 6, 3, copies=copies)(torch.zeros(shape), torch.zeros(rows, dtype=torch.long))


def test_wrong_shapes_of_the_functions():
    target = torch.zeros(4, dtype=torch.long)
    for bad in (torch.zeros(6), torch.zeros(3, 6), torch.zeros(2, 4, 6)):
        with pytest.raises(ShapeError, match="expected logits"):
            hard_category_mask(bad, target, 2)
        with pytest.raises(ShapeError, match="expected logits"):
            BalancedSoftmaxLoss([1] * 6)(bad, target)
    with pytest.raises(ShapeError, match="expected logits"):
        BalancedSoftmaxLoss([1] * 5)(torch.zeros(4, 6), target)
    for bad in (torch.zeros(4, 6), torch.zeros(2, 4, 5)):
        with pytest.raises(ShapeError, match="expected logits"):
            balanced_online_distillation(bad, torch.zeros(6))
    with pytest.raises(ShapeError, match="index"):
        balanced_online_distillation(
            torch.zeros(2, 4, 6), torch.zeros(6), torch.zeros(3, 2, dtype=torch.long)
        )


def test_public_names():
    import mien.methods.ncl as ncl

    for name in (
        "BalancedSoftmaxLoss",
        "hard_category_mask",
        "balanced_online_distillation",
        "NCLLoss",
        "MultiExpertNet",
    ):
        assert name in dir(ncl)
        assert getattr(ncl, name).__name__ == name
