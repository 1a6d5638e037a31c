"""Scores of subsets: calibration, clips, and what is kept of them."""

import numpy as np

from mien.methods.fm_vit.score import clip_scores, subset_name, subsets_of


def test_all_seven_subsets_in_order() -> None:
    names = [subset_name(s) for s in subsets_of(("rgb", "depth", "ir"))]
    assert names == ["rgb", "depth", "ir", "rgb+depth", "rgb+ir", "depth+ir", "rgb+depth+ir"]


def test_frames_of_a_clip_are_averaged() -> None:
    videos = np.array(["b", "a", "b", "c"])
    means, first = clip_scores(np.array([1.0, 5.0, 3.0, 7.0]), videos)
    assert means.tolist() == [2.0, 5.0, 7.0]
    assert first.tolist() == [0, 1, 3]
