from __future__ import annotations

from mien.engine.report import write_report


def test_report_draws_curves_and_validation(tmp_path):
    train = [
        {"event": "train", "step": s, "epoch": s / 5, "lr": 0.1, "loss": 3.0 / s, "a": 1.0, "zero": 0.0}
        | {"images_per_second": 100.0, "waiting": 0.1}
        for s in (1, 2, 3)
    ]
    scores = [{"event": "validation", "step": s, "single": 0.1 * s} for s in (1, 3)]
    run = {"steps": 3, "seconds": 1.5, "validation": {"single": 0.3}, "machine": {"cpu": "<x>"}}
    for log in (train + scores, train, []):
        path = write_report(tmp_path, "na<me", {"k": "<v>"}, log, run)
        page = path.read_text()
        assert "data:image/png;base64" in page
        assert "na&lt;me" in page
        assert "&lt;v&gt;" in page
        assert "<x>" not in page
        assert 'src="http' not in page
