from __future__ import annotations

import pytest
import torch

from tests.methods.fm_vit.nets import NAMES, only, pictures, small, stirred


def whole_matrix(net, images):
    """Rollout by products of square matrices over all tokens of all branches, for the first sample."""
    present, x = net.tokens(images)
    branches, length = len(present), x.shape[2]
    size = branches * length
    rollout = torch.eye(size, dtype=torch.float64)

    def after(attention):
        return (attention.double() + torch.eye(size, dtype=torch.float64)) / 2 @ rollout

    for i, block in enumerate(net.blocks):
        rollout = after(torch.block_diag(*block.map(x, present)[:, 0]))
        x = block(x, present)
        cross = net.cross_block_after(i)
        if cross is None:
            continue
        within, fusion = cross.maps(x, present)
        rollout = after(torch.block_diag(*within[:, 0]))
        if fusion is not None:
            joint = torch.eye(size)
            for a in range(branches):
                row = a * length
                joint[row] = 0
                others = [b for b in range(branches) if b != a or branches == 1]
                start = 0
                for b in others:
                    first = b * length + 1
                    joint[row, first : first + length - 1] = fusion[a, 0, start : start + length - 1]
                    start += length - 1
            rollout = after(joint)
        x, _ = cross(x, present)
    cls = rollout[[a * length for a in range(branches)]].mean(0).unflatten(0, (branches, length))
    return {m: cls[a] for a, m in enumerate(present)}


@pytest.mark.parametrize("subset", [("rgb",), ("depth", "ir"), NAMES])
@pytest.mark.parametrize("options", [{}, {"missing": "skip"}, {"mfa": False}, {"share_stb": False}])
def test_rollout_equals_the_product_of_matrices(subset, options):
    net, images = stirred(small(**options), scale=0.4), pictures(2, subset)
    found, wanted = net.attention_rollout(images), whole_matrix(net, images)
    assert list(found) == list(subset)
    for m in subset:
        assert found[m].shape == (2, 16)
        torch.testing.assert_close(found[m][0].double(), wanted[m][1:], atol=1e-6, rtol=1e-4)
    total = sum(wanted[m].sum() for m in subset)
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64), atol=1e-6, rtol=0)
    assert 0.3 < sum(float(found[m][0].sum()) for m in subset) < 1


def test_rollout_has_no_gradient_and_needs_no_peers():
    net, images = stirred(small()), pictures()
    alone = net.attention_rollout(only(images, "ir"))
    assert list(alone) == ["ir"]
    assert not alone["ir"].requires_grad
    assert (alone["ir"] >= 0).all()
