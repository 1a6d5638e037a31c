from __future__ import annotations

import pytest
import torch
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError
from mien.synth.skinning import blend, carry, chain, moved

PARENTS = (-1, 0, 1, 1, 3)
DOUBLE = torch.float64


def skeleton(batch=2, vertices=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    heads = torch.randn(batch, len(PARENTS), 3, generator=g, dtype=DOUBLE)
    turns = torch.as_tensor(Rotation.random(batch * len(PARENTS), rng=seed).as_matrix())
    rest = torch.randn(batch, vertices, 3, generator=g, dtype=DOUBLE)
    bone = torch.stack([torch.randperm(len(PARENTS), generator=g)[:3] for _ in range(vertices)])
    weight = torch.rand(vertices, 3, generator=g, dtype=DOUBLE)
    return heads, turns.reshape(batch, -1, 3, 3), rest, bone, weight / weight.sum(1, keepdim=True)


def chain_loop(heads, pose):
    """A point of bone j turns about head j, then as its parent's points do."""
    out = torch.eye(4, dtype=DOUBLE).repeat(*heads.shape[:2], 1, 1)
    for b in range(len(heads)):
        for j, parent in enumerate(PARENTS):
            own = torch.eye(4, dtype=DOUBLE)
            own[:3, :3], own[:3, 3] = pose[b, j], heads[b, j] - pose[b, j] @ heads[b, j]
            out[b, j] = own if parent < 0 else out[b, parent] @ own
    return out


def test_chain_equals_the_loop():
    heads, pose, *_ = skeleton()
    torch.testing.assert_close(chain(heads, pose, PARENTS), chain_loop(heads, pose))


def test_blend_equals_the_loop():
    heads, pose, rest, bone, weight = skeleton()
    transforms = chain(heads, pose, PARENTS)
    expected = torch.zeros_like(rest)
    for b in range(len(rest)):
        for v in range(rest.shape[1]):
            for k in range(bone.shape[1]):
                t = transforms[b, bone[v, k]]
                expected[b, v] += weight[v, k] * (t[:3, :3] @ rest[b, v] + t[:3, 3])
    torch.testing.assert_close(blend(rest, transforms, bone, weight), expected)


def test_carry_keeps_a_head_on_its_parent_bone():
    """Turning a bone does not move its own head: its parent's transform does."""
    heads, pose, *_ = skeleton()
    transforms = chain(heads, pose, PARENTS)
    posed = carry(heads, transforms)
    for j, parent in enumerate(PARENTS):
        if parent < 0:
            torch.testing.assert_close(posed[:, j], heads[:, j])
        else:
            torch.testing.assert_close(posed[:, j], carry(heads[:, [j]], transforms[:, [parent]])[:, 0])


def test_no_pose_is_the_identity_and_a_translation_moves_all():
    heads, _, rest, bone, weight = skeleton()
    transforms = chain(heads, None, PARENTS)
    torch.testing.assert_close(blend(rest, transforms, bone, weight), rest)
    by = torch.tensor([[1.0, 2, 3], [0, -1, 0]], dtype=DOUBLE)
    shifted = moved(transforms, by)
    torch.testing.assert_close(blend(rest, shifted, bone, weight), rest + by[:, None])
    assert moved(transforms, None) is transforms
    assert torch.equal(transforms, chain(heads, None, PARENTS))  # not in place


def test_gradients():
    heads, pose, rest, bone, weight = skeleton(1, 3)
    inputs = [t.clone().requires_grad_() for t in (heads, pose, rest, weight)]
    assert torch.autograd.gradcheck(lambda h, p, x, w: blend(x, chain(h, p, PARENTS), bone, w), inputs)


def test_wrong_pose_is_refused():
    heads, pose, *_ = skeleton()
    with pytest.raises(ConfigError, match=r"pose is \(2, 4, 3, 3\), not \(2, 5, 3, 3\)"):
        chain(heads, pose[:, :4], PARENTS)
