"""Real processes: killed with -9 in mid-epoch, on one process and on two; resumed; the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mien.core.io import sha256

# 68 training pictures in batches of 8: 9 steps an epoch; checkpoints fall in mid-epoch.
FLAGS = [
    "--preset",
    "debug",
    "--schedule.steps",
    "60",
    "--schedule.checkpoint-every",
    "4",
    "--schedule.ema",
    "0.9",
]


def command(processes: int, *words: str) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m", "mien"]
    return [sys.executable, *(launch if processes > 1 else ["-m", "mien"]), *words]


def run(processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(processes, *words), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def kill_after_first_checkpoint(processes: int, folder: Path, *words: str) -> int:
    """Starts a training and kills it and its children with -9 once a checkpoint past the first is there."""
    with open(os.devnull, "w") as sink:
        child = subprocess.Popen(command(processes, *words), stdout=sink, stderr=sink, start_new_session=True)
    until = time.monotonic() + 120
    while not list((folder / "checkpoints").glob("step-*[!4]")) and time.monotonic() < until:
        assert child.poll() is None, "finished before it could be killed"
        time.sleep(0.002)
    family = [*psutil.Process(child.pid).children(recursive=True), child]  # a launcher's are in other groups
    for process in family:
        process.kill()
    psutil.wait_procs(family[:-1], 30)
    child.wait(30)
    assert not (folder / "weights.safetensors").exists(), "finished before it could be killed"
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines() if line.endswith("}")]
    return int(log[0]["processes"])


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.ddp)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, processes):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    said = run(processes, "train", "ncl", *FLAGS, "--output", str(whole))
    assert f"on {processes} process(es)" in said.stdout
    seen = kill_after_first_checkpoint(processes, broken, "train", "ncl", *FLAGS, "--output", str(broken))
    assert seen == processes
    run(processes, "train", "--resume", str(broken))
    assert sha256(whole / "weights.safetensors") == sha256(broken / "weights.safetensors")
    first = json.loads((broken / "log.jsonl").read_text().splitlines()[0])
    assert first["processes"] == processes


def test_worker_processes_change_nothing(tmp_path):
    hashes = []
    for workers in ("0", "2"):
        folder = tmp_path / workers
        run(1, "train", "ncl", "--preset", "debug", "--data.workers", workers, "--output", str(folder))
        hashes.append(sha256(folder / "weights.safetensors"))
    assert hashes[0] == hashes[1]


def test_killed_while_writing_a_checkpoint(tmp_path):
    """-9 between writing the new checkpoint and renaming it: the previous one survives, the run goes on."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(1, "train", "ncl", *FLAGS, "--output", str(whole))
    words = ["train", "ncl", *FLAGS, "--output", str(broken)]
    code = (
        "import os, signal, sys\n"
        "from mien.cli.main import main\n"
        "from mien.core import io\n"
        "plain = io.sync_tree\n"
        "def sync(folder):\n"
        "    if folder.name.startswith('.step-00000012'):\n"
        "        (folder / 'model.safetensors').write_bytes(b'half')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    plain(folder)\n"
        "io.sync_tree = sync\n"
        f"main({words!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL
    names = sorted(p.name for p in (broken / "checkpoints").iterdir())
    assert names == [".step-00000012.part", "step-00000004", "step-00000008"]
    run(1, "train", "--resume", str(broken))
    assert sha256(whole / "weights.safetensors") == sha256(broken / "weights.safetensors")
