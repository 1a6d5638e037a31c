"""Runs a team's code again and compares its scores with those that were sent.

The code runs in a process of its own, in a temporary folder, without this process's environment, with limits
of time, memory, file size and open files. That keeps an honest program from harming the machine; it is no
prison for a hostile one (see the README: use a container or a machine of its own).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.challenge.intake import zip_path
from mien.challenge.references import Reference
from mien.challenge.scoring import lists_of, score_scores
from mien.challenge.settings import Contest, read_contest
from mien.challenge.store import Submission, open_store
from mien.challenge.submissions import Scores, SubmissionError, parse, read_zip, unpack
from mien.core.errors import ConfigError, DataError

SCRIPT = "solution.py"
_LAUNCH = """
import os, resource, sys
seconds, memory, size = (int(word) for word in sys.argv[1:4])
for kind, bound in (("CPU", seconds), ("AS", memory), ("FSIZE", size), ("NOFILE", 256), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (bound, bound))
os.execv(sys.argv[4], sys.argv[4:])
"""
"""Sets the limits and becomes the team's program, so that they hold from its first instruction."""


@dataclass(frozen=True)
class RunLimits:
    """What a team's program may use.

    Attributes:
        seconds: of time, and of each process's processor time.
        memory_mb: address space of each process, MiB.
        file_mb: largest file it may write, MiB.
    """

    seconds: int = 3600
    memory_mb: int = 8192
    file_mb: int = 256

    def __post_init__(self) -> None:
        if min(self.seconds, self.memory_mb, self.file_mb) < 1:
            raise ConfigError("seconds, memory_mb and file_mb of a run must be 1 or more")


@dataclass(frozen=True)
class Verification:
    """What running the code again gave.

    Attributes:
        submission: its number.
        verdict: ``same``, ``differs`` or ``failed``.
        largest: difference of a score; None where it failed.
        changed: share of the lines that differ by more than the tolerance; None where it failed.
        acer: as sent; None where it failed.
        acer_again: of the scores of the run; None where it failed.
        message: why it failed.
    """

    submission: int
    verdict: str
    largest: float | None = None
    changed: float | None = None
    acer: float | None = None
    acer_again: float | None = None
    message: str = ""


def run_code(code: Path, data: Path, phase: int, place: Path, limits: RunLimits, python: str) -> Path:
    """Runs ``solution.py DATA OUTPUT.zip --phase N`` of a copy of the code; the zip it wrote.

    Args:
        code: folder with `SCRIPT`.
        data: the challenge's folder; the program gets copies of the lists and links to the pictures.
        phase: 1 or 2.
        place: temporary folder, the program's home.
        limits: of the run.
        python: interpreter.

    Raises:
        SubmissionError: no such script, it takes too long, or ends with an error.
    """
    if not (code / SCRIPT).is_file():
        raise SubmissionError(f"{code}: no {SCRIPT} here; the starting kit shows one")
    home = place / "code"
    shutil.copytree(code, home, symlinks=True)
    output = place / "again.zip"
    bounds = [str(limits.seconds), str(limits.memory_mb * 2**20), str(limits.file_mb * 2**20)]
    command = [sys.executable, "-I", "-S", "-c", _LAUNCH, *bounds, python, SCRIPT]
    words = [str(_public_data(data, place)), str(output), "--phase", str(phase)]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home)}
    with (place / "stderr").open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603
            [*command, *words],
            cwd=home,
            env={**environment, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code_left = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            raise SubmissionError(f"the code ran longer than {limits.seconds} s") from None
        finally:
            _end(process)
    if code_left:
        raise SubmissionError(f"the code ended with {code_left}: {_last_line(place / 'stderr')}")
    return output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _last_line(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - 4096))
        lines = stream.read().decode("utf-8", "replace").split("\n")
    return ascii(next((line for line in reversed(lines) if line.strip()), "no message"))[1:-1][:200]


def _public_data(folder: Path, place: Path) -> Path:
    """A folder with phase1/ and phase2/ only: the program is never told where reference/ lies.

    The lists are copies; the folders of pictures are links.
    """
    data = place / "data"
    for phase in ("phase1", "phase2"):
        (data / phase).mkdir(parents=True)
        for path in sorted((folder / phase).iterdir()):
            target = data / phase / path.name
            if path.is_dir():
                target.symlink_to(path.resolve(), target_is_directory=True)
            else:
                shutil.copyfile(path, target)
    return data


def verify(
    dir: str | Path,
    submission: int,
    code: str | Path,
    *,
    tolerance: float = 1e-3,
    limits: RunLimits | None = None,
    python: str = sys.executable,
) -> Verification:
    """Runs a team's code again, compares, and notes the verdict for the board.

    Args:
        dir: the challenge.
        submission: its number.
        code: folder with ``solution.py``.
        tolerance: scores that differ by no more are the same.
        limits: of the run.
        python: interpreter that has what the code needs.

    Raises:
        ConfigError: no such submission.
        DataError: no challenge in ``dir``.
    """
    folder, contest = Path(dir), read_contest(dir)
    with open_store(folder, contest) as store:
        row = store.submission(submission)
        found = _compared(folder, contest, row, Path(code), tolerance, limits or RunLimits(), python)
        store.set_verified(submission, found.verdict)
    return found


def _compared(
    folder: Path,
    contest: Contest,
    row: Submission,
    code: Path,
    tolerance: float,
    limits: RunLimits,
    python: str,
) -> Verification:
    reference = Reference.read(folder)
    sent = _scores(zip_path(folder, row.sha256), contest, reference, row.phase)
    try:
        with tempfile.TemporaryDirectory(prefix="mien-verify-", ignore_cleanup_errors=True) as name:
            written = run_code(code, folder, row.phase, Path(name), limits, python)
            again = _scores(written, contest, reference, row.phase)
            rules = contest.rules(row.phase)
            acer, acer_again = (score_scores(reference, s, rules).errors.acer for s in (sent, again))
    except (DataError, OSError) as error:
        return Verification(row.id, "failed", message=str(error))
    apart = np.abs(_joined(sent) - _joined(again))
    largest, changed = float(apart.max()), float((apart > tolerance).mean())
    return Verification(row.id, "differs" if changed else "same", largest, changed, acer, acer_again)


def _scores(path: Path, contest: Contest, reference: Reference, phase: int) -> Scores:
    bounds = contest.limits.bounds()
    return parse(unpack(read_zip(path, bounds), contest.files, bounds), *lists_of(reference, phase))


def _joined(scores: Scores) -> np.ndarray:  # type: ignore[type-arg]
    return scores.dev if scores.test is None else np.concatenate([scores.dev, scores.test])
