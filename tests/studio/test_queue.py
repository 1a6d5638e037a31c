"""Many ask at once: nobody is lost, nobody gets another's answer, the memory stays bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.studio.conftest import served

from mien.studio import classify

client = pytest.importorskip("gradio_client", reason="gradio is not installed (extra studio)")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)  # of gradio's own event loops
MEGABYTES = 250
"""That the process may grow by; the net itself has 3."""


def resident():
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def pictures(folder, count):
    """Pictures that the net tells apart."""
    rng = np.random.default_rng(7)
    paths = []
    for k in range(count):
        own = np.zeros((28, 28), np.uint8)
        top, left = rng.integers(2, 10, 2)
        own[top : 28 - rng.integers(2, 8), left : 28 - rng.integers(2, 8)] = rng.integers(90, 255)
        paths.append(folder / f"{k}.png")
        Image.fromarray(own).save(paths[-1])
    return [str(p) for p in paths]


def ask_together(folder, count, visitors):
    """The largest difference of an answer from that of its own picture, and the growth of the memory, MB."""
    paths = pictures(folder, count)
    alone = [classify.classify(p)[0] for p in paths]
    assert len({tuple(sorted(a.items())) for a in alone}) == count
    with served() as url:
        asking = [client.Client(url, verbose=False, httpx_kwargs={"timeout": 120}) for _ in range(visitors)]
        before = resident()
        jobs = [
            asking[k % visitors].submit(client.handle_file(p), api_name="/classify")
            for k, p in enumerate(paths)
        ]
        answers = [job.result(timeout=240)[0] for job in jobs]
        after = resident()
        for one in asking:
            one.close()
    print(f"{count} requests of {visitors} visitors: {before:.0f} MB before, {after:.0f} MB after")
    worst = 0.0
    for answer, own in zip(answers, alone, strict=True):
        told = {c["label"]: c["confidence"] for c in answer["confidences"]}
        assert set(told) == set(own)
        worst = max(worst, *(abs(told[name] - own[name]) for name in own))
    return worst, after - before


def test_twelve_at_once_get_their_own_answers(tmp_path):
    worst, grown = ask_together(tmp_path, 12, 3)
    assert worst < 1e-6
    assert grown < MEGABYTES


@pytest.mark.slow
def test_fifty_at_once_get_their_own_answers(tmp_path):
    worst, grown = ask_together(tmp_path, 50, 5)
    assert worst < 1e-6
    assert grown < MEGABYTES
