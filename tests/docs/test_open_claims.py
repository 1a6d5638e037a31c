"""What the page of claims that were open says of now is what the generated tables say."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGED, STILL_OPEN = (ROOT / "docs/open-claims.md").read_text().split("## Paper claims that are still")
_CLAIM = re.compile(
    r"^\| `(\w+)` \| (\w+) \| .* \| (\S+) (?:\[.*\]) \| ([a-z ]+?)(?: \(.*\))? \|$", re.MULTILINE
)


def now(method):
    """Claim -> kind, value, verdict, of a method's page, which `mien results --check` keeps up to date."""
    text = (ROOT / f"src/mien/methods/{method}/README.md").read_text()
    return {name: found for name, *found in _CLAIM.findall(text)}


def test_values_and_verdicts_are_those_of_now():
    rows = re.findall(r"^\| `(\w+)` (\w+) \| .*? \| (\S+), ([a-z ]+) \| ", CHANGED, re.MULTILINE)
    assert len(rows) > 15
    for method, claim, value, verdict in rows:
        assert now(method)[claim][1:] == [value, verdict], (method, claim)


def test_every_paper_claim_that_does_not_hold_is_told_of():
    told = {
        (method, claim)
        for method, claims in re.findall(r"^\| `(\w+)` ([\w, ]+) \|", STILL_OPEN, re.MULTILINE)
        for claim in claims.split(", ")
    }
    methods = [p.parent.name for p in (ROOT / "src/mien/methods").glob("*/README.md")]
    unheld = {
        (method, claim)
        for method in methods
        for claim, (kind, _, verdict) in now(method).items()
        if kind == "paper" and verdict != "holds"
    }
    assert told == unheld
