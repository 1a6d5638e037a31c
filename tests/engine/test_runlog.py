"""Lines of the log are means over the steps since the last one."""

from __future__ import annotations

import json

import pytest
import torch

from mien.engine.runlog import RunLog
from mien.engine.task import Clock, StepOut


def test_a_term_of_some_steps_is_their_mean(tmp_path):
    log = RunLog(tmp_path)
    log.start(1)
    for loss, terms in ((1.0, {}), (2.0, {"rare": 4.0}), (3.0, {"rare": 6.0})):
        out = StepOut(torch.tensor(loss), {k: torch.tensor(v) for k, v in terms.items()})
        log.collect(out, 0.0, 1.0, 8, 0.1)
    assert log.flush(Clock(3, 10, 5)) == {"loss": 2.0, "rare": 5.0}
    assert log.flush(Clock(3, 10, 5)) == {}
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["rare"] == 5.0
    assert last["images_per_second"] == pytest.approx(8.0)
