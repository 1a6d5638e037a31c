from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.engine.export import export_graph, open_session
from mien.methods.fm_vit import HalfwayCNN, MAViT, SubsetNet
from tests.methods.fm_vit.nets import NAMES, SIZES, only, pictures, small, stirred

SHORT = {**SIZES, "depth": 1, "stages": 1}


def test_wrong_images_are_one_line():
    net, x = small(), pictures()
    cases = [
        ({}, ConfigError, "no image; give any of rgb, depth, ir"),
        ({"rbg": x["rgb"]}, ConfigError, "unknown modality 'rbg'; did you mean 'rgb'?"),
        ({"thermal": x["rgb"]}, ConfigError, "unknown modality 'thermal'"),
        ({**x, "ir": x["ir"][:2]}, ShapeError, "3 images of rgb and 2 of ir; give as many"),
        (
            {"ir": x["ir"][:, :2]},
            ShapeError,
            r"ir: expected images \(B, 3 or 1, 16, 16\), got \(3, 2, 16, 16\)",
        ),
        ({"ir": x["ir"][..., :8]}, ShapeError, r"got \(3, 3, 16, 8\)"),
        ({"ir": x["ir"][0]}, ShapeError, r"got \(3, 16, 16\)"),
    ]
    for images, error, line in cases:
        with pytest.raises(error, match=line) as caught:
            net(images)
        assert "\n" not in str(caught.value)
    assert net.required_modalities == ()


def test_one_channel_is_repeated_and_normalisation_is_inside():
    net, grey = small(), pictures(channels=1)
    three = {m: x.repeat(1, 3, 1, 1) for m, x in grey.items()}
    assert torch.equal(net(grey)["fused"], net(three)["fused"])
    ready = net.prepare(grey)
    assert list(ready) == list(NAMES)
    torch.testing.assert_close(ready["ir"], three["ir"] * 2 - 1)
    zeros = net.with_zeros(only(grey, "depth"))
    assert [bool(x.abs().sum() == 0) for x in zeros] == [True, False, True]


def test_the_probability_of_a_live_face_is_that_of_the_first_logit():
    net, x = stirred(small()), pictures()
    p = net.predict_proba(x)
    assert p.shape == (3,)
    z = net(x)["fused"]
    torch.testing.assert_close(p, torch.sigmoid(z[:, 0] - z[:, 1]))
    order = ("ir", "rgb", "depth")
    stacked = torch.cat([x[m] for m in order], 1)
    torch.testing.assert_close(SubsetNet(net, order)(stacked), p)
    grey = pictures(channels=1)
    stacked = torch.cat([grey[m] for m in order], 1)
    torch.testing.assert_close(SubsetNet(net, order)(stacked), net.predict_proba(grey))


def graph_and_torch(net, subset, path, images):
    """What the exported graph and torch say; the graph is made from another number of samples."""
    net = SubsetNet(net, subset)
    example = torch.cat(list(pictures(2, subset, seed=9).values()), 1)
    x = torch.cat(list(images.values()), 1)
    found = open_session(export_graph(net, example, path)).run(None, {"image": x.numpy()})[0]
    with torch.inference_mode():
        return found, net(x).numpy()


@pytest.mark.parametrize("subset", [("depth",), NAMES])
def test_every_subset_exports(subset, tmp_path):
    found, wanted = graph_and_torch(
        stirred(small(**SHORT)), subset, tmp_path / "net.onnx", pictures(5, subset)
    )
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("net", [MAViT(**SHORT), small(**SHORT, soft=True), HalfwayCNN(img_size=16, width=4)])
def test_other_nets_export(net, tmp_path):
    subset = ("rgb", "ir")
    found, wanted = graph_and_torch(stirred(net), subset, tmp_path / "net.onnx", pictures(3, subset))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5
