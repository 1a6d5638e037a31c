from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from mien.cli.main import main
from mien.core.errors import MienError
from mien.engine.export import (
    ExportPlan,
    Signature,
    _is_transformer,
    export_all,
    export_graph,
    open_session,
    quantize,
    run_session,
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    assert main(["export", "ncl", "--int8", "--images", "60", "--output", str(folder)]) == 0
    return folder, json.loads((folder / "export.json").read_text())


def test_export_proves_parity_on_real_pictures(exported):
    folder, answer = exported
    assert answer["real"] is True
    assert answer["images"] == 60
    graphs = {(g["name"], g["precision"]): g for g in answer["graphs"]}
    assert set(graphs) == {(n, p) for n in ("ensemble", "expert0", "expert1") for p in ("fp32", "int8")}
    for (_, precision), g in graphs.items():
        assert (folder / g["file"]).is_file()
        assert g["max_difference"] < (1e-4 if precision == "fp32" else 5.0)
        assert abs(g["metric_change"]) <= (0.0 if precision == "fp32" else 0.1)
        assert g["onnx_ms"] > 0


def test_the_graph_takes_plain_pictures_and_any_batch(exported):
    folder, _ = exported
    session = open_session(folder / "expert0.onnx")
    x = np.random.default_rng(0).random((7, 1, 28, 28), dtype=np.float32)
    whole = run_session(session, x, batch=3)
    single = run_session(session, x, batch=1)
    np.testing.assert_allclose(whole, single, atol=1e-5)
    from mien import load

    net = load("ncl/small").net.export_expert(0)
    with torch.inference_mode():
        np.testing.assert_allclose(whole, net(torch.from_numpy(x)).numpy(), atol=1e-4)


def test_dynamic_quantisation_for_transformers(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 4)).eval()
    assert _is_transformer(net)
    reports = export_all({"t": net}, torch.rand(12, 1, 4, 4), tmp_path, int8=True)
    assert [r.precision for r in reports] == ["fp32", "int8"]
    assert reports[0].max_difference < 1e-5
    assert reports[0].metric is None
    assert not list(tmp_path.glob(".*"))


def test_each_graph_may_have_inputs_and_a_metric_of_its_own(tmp_path):
    graphs = {c: nn.Sequential(nn.Flatten(), nn.Linear(4 * c, 1)).eval() for c in (1, 3)}
    named = {f"c{c}": net for c, net in graphs.items()}
    images = {f"c{c}": torch.rand(5, c, 2, 2) for c in graphs}
    metrics = {"c1": lambda y: float(len(y)), "c3": lambda y: -float(len(y))}
    plan = ExportPlan(named, images, metrics, "images")
    assert plan.count == 5
    assert ExportPlan(named, images["c1"][:2], None, "none").count == 2
    reports = export_all(plan.graphs, plan.images, tmp_path, int8=False, metric=plan.metric)
    assert [(r.name, r.metric, r.metric_change) for r in reports] == [("c1", 5, 0), ("c3", -5, 0)]
    assert all(r.max_difference < 1e-5 for r in reports)


class Outer(nn.Module):
    """x y^T of two inputs, the second of any length."""

    signature = Signature(("x", "y"), "product", {"y": (1,)})

    def forward(self, x, y):
        return x[:, :, None] * y[:, None]


def test_a_graph_may_take_several_inputs_by_name(tmp_path):
    given = (torch.rand(5, 3), torch.rand(5, 4))
    (report,) = export_all({"outer": Outer()}, {"outer": given}, tmp_path, int8=False)
    assert report.max_difference < 1e-6
    session = open_session(tmp_path / "outer.onnx")
    assert [i.name for i in session.get_inputs()] == ["x", "y"]
    x, y = np.ones((3, 3), np.float32), np.arange(21, dtype=np.float32).reshape(3, 7)
    assert np.array_equal(run_session(session, (x, y), batch=2), np.repeat(y[:, None], 3, 1))
    assert ExportPlan({"outer": Outer()}, {"outer": given}, None, "none").count == 5


def test_an_operation_that_does_not_export_is_one_line(tmp_path):
    class Inverse(nn.Module):
        def forward(self, x):
            return torch.linalg.eig(x)[0].real

    with pytest.raises(MienError, match="cannot export") as caught:
        export_graph(Inverse(), torch.rand(2, 3, 3), tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_failed_quantisation_leaves_nothing(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not a graph")
    with pytest.raises(Exception, match=r".*"):
        quantize(tmp_path / "x.onnx", np.zeros((1, 1), np.float32), dynamic=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


class Shares(nn.Module):
    """Softmax of ln sig of numbers that may lie far below zero, as a capsule net's presences do."""

    def forward(self, image):
        return nn.functional.logsigmoid(500 * (image - 1)).softmax(1)


def test_far_below_zero_a_log_sigmoid_stays_finite(tmp_path):
    image = 0.5 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    (report,) = export_all({"shares": Shares()}, image, tmp_path, int8=False)
    assert report.max_difference < 1e-4


def test_a_graph_that_answers_nan_is_no_parity(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mien.engine.export.run_session", lambda *_: np.full((4, 3, 8, 8), np.nan, np.float32)
    )
    with pytest.raises(MienError, match="answers NaN or infinity where torch does not"):
        export_all({"shares": Shares()}, torch.rand(4, 3, 8, 8), tmp_path, int8=False)
