"""Two graphs that together are the net, and files of them that answer the same."""

import pytest
import torch

from mien.engine.export import export_all
from mien.methods.igc_net.export import LIGHT, VIEW, export_plan, graphs_of, inputs_of
from mien.methods.igc_net.predict import Predictor
from mien.methods.igc_net.seen import light_numbers
from tests.methods.igc_net.faces import made, some_images, tiny_folder, tiny_net


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"method__background": False}, {"method__light": False}])
def test_encoder_and_decoder_are_the_net(changes):
    net = tiny_net(**changes)
    graphs, images = graphs_of(net), some_images()
    obj = net.encode(images)
    codes, width = graphs["encoder"](images), net.config.features
    f_s, f_a, rest = codes.split([width, width, VIEW + LIGHT], 1)
    assert torch.allclose(rest[:, :VIEW], obj.view, atol=1e-6)
    assert torch.allclose(rest[:, VIEW:], light_numbers(obj.light), atol=1e-6)
    maps = graphs["decoder"](f_s, f_a)
    assert torch.allclose(maps[:, 0], obj.depth, atol=1e-6)
    assert torch.allclose(maps[:, 1:4], obj.albedo, atol=1e-5)
    assert torch.allclose(maps[:, 4:8], obj.visibility, atol=1e-5)
    third = maps[:, 8 + 2 * 5 :]
    assert torch.allclose(third[:, 0], obj.parts[2].depth, atol=1e-6)
    assert torch.allclose(third[:, 1:4], obj.parts[2].albedo, atol=1e-5)
    assert torch.allclose(third[:, 4], obj.parts[2].presence, atol=1e-4)


def test_files_answer_the_same(tmp_path):
    net = tiny_net()
    reports = export_all(graphs_of(net), inputs_of(net, made().some(slice(0, 3))), tmp_path, int8=False)
    assert [r.file for r in reports] == ["encoder.onnx", "decoder.onnx"]
    assert all(r.max_difference < 1e-3 for r in reports)


def test_the_plan(tmp_path):
    plan = export_plan(Predictor.from_folder(tiny_folder(tmp_path)), 4)
    assert (plan.count, plan.metric, plan.real) == (4, None, False)
    assert set(plan.calibration) == {"encoder", "decoder"}
