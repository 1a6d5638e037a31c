"""The protocol's measures, on balls whose motion is known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.otavatar import evaluate
from mien.methods.otavatar.evaluate import (
    Views,
    controlled,
    joined,
    other_moments,
    reenacted,
    sources,
    true_views,
    view_measures,
    viewed,
    views_of,
    warped,
)
from mien.methods.otavatar.inversion import InversionSettings
from mien.methods.otavatar.judges import Judges
from mien.methods.otavatar.reenact import expressive
from tests.methods.otavatar.tiny import ball_heads, tiny_net

FEW = InversionSettings(steps=2)


@pytest.fixture(scope="module")
def known():
    """Judges that answer the same for every picture: the landmarks of the balls, and a mean colour."""
    batch = other_moments(ball_heads(), 1)[0]
    ring = true_views(batch).seen[0, 0]

    def embed(pictures):
        return pictures.mean((2, 3)) + 2

    return Judges(lambda pictures: ring.expand(len(pictures), -1, -1), embed, embed)


def test_other_moments_leave_out_the_source_and_fall_in_expression():
    heads = ball_heads()
    order = expressive(heads)
    batches = other_moments(heads, 2)
    assert len(batches) == heads.moments.shape[1] - 1
    for rank, batch in enumerate(batches, 1):
        assert batch.images.shape[:3] == (6, 1, 2)
        assert batch.moment[:, 0].tolist() == order[:, rank].tolist()
    strength = [b.windows[:, 0, :, 2].abs().sum(1) for b in batches]
    assert all((a >= b).all() for a, b in pairwise(strength))


def test_true_pictures_are_at_no_distance_from_the_truth(known):
    truth = joined([true_views(b) for b in other_moments(ball_heads(), 1)])
    found = evaluate.compared(truth.pictures, truth, known)
    assert found["face_l1"].max() == 0
    assert found["psnr"].min() > 60
    assert found["csim"] == pytest.approx(np.ones(6), abs=1e-6)


def test_far_and_near_views_are_counted_apart():
    torch.manual_seed(0)
    truth = Views(torch.zeros(2, 3, 3, 64, 64), torch.full((2, 3, 68, 2), 0.5))
    truth.seen[..., :34, :] = 0.3
    off = torch.zeros_like(truth.pictures)
    off[:, 0] += 0.2  # 20 dB: half of it in [0, 1]
    off[:, 1] += 0.02  # 40 dB
    far = np.array([[True, False, False], [True, False, False]])
    near = np.array([[False, True, False], [False, False, False]])
    found = view_measures(off, truth, far, near)
    assert found["far_psnr"] == pytest.approx([20, 20], abs=1e-3)
    assert found["near_psnr"] == pytest.approx([40, 40], abs=1e-3)  # the second has none: the others' mean


def test_an_untrained_avatar_that_has_no_motion_shows_the_same_at_every_level(known):
    net, heads = tiny_net(), ball_heads()
    names = replace(heads, names=("jawOpen", "browInnerUp", "c"))
    source = sources(net, names, "still", FEW)
    found = controlled(net, names, source, "still", known)
    assert found["mouth_spearman"].tolist() == found["brows_spearman"].tolist() == [0.0] * 6


def test_reenactment_of_a_still_avatar_gives_one_value_for_each_person(known):
    net, heads = tiny_net(), ball_heads()
    source = sources(net, heads, "still", FEW)
    found = reenacted(net, heads, source, "still", FEW, known)
    assert {
        "psnr",
        "face_l1",
        "mouth_l1",
        "akd",
        "mouth_opening_error",
        "csim",
        "source_psnr",
        "leak",
    } <= set(found)
    assert all(v.shape == (6,) and np.isfinite(v).all() for v in found.values())
    assert (found["leak"] >= 0).all()


def test_views_of_a_moment_are_measured_but_not_its_source_view():
    net, heads = tiny_net(sigma_bias=2.0), ball_heads()
    batch, far, near = views_of(heads, 1)
    assert batch.images.shape[:3] == (6, 1, 2)
    assert far.shape == near.shape == (6, 1)
    found = viewed(net, heads, sources(net, heads, "still", FEW))
    assert set(found) == {"view_psnr", "far_psnr", "near_psnr", "depth_error"}


def test_the_copy_is_the_portrait_and_a_warp_is_nearer_where_a_ball_has_turned(known):
    heads = ball_heads()
    copy, bent = (warped(heads, kind, known) for kind in ("copy", "thin_plate"))
    batch, _, _ = views_of(heads, 1)
    truth = true_views(batch)
    error = (truth.pictures[:, :1] - truth.pictures[:, 1:]).square().mean((1, 2, 3, 4)) / 4
    assert copy["view_psnr"] == pytest.approx((-10 * error.log10()).numpy(), abs=1e-3)
    assert set(copy) == set(bent)
    with pytest.raises(ConfigError, match="no warp 'spline'; there are copy, homography, thin_plate"):
        warped(heads, "spline", known)
