"""Rows and claims: fair, complete, and judged as they say."""

import numpy as np

from mien.core.stats import judge
from mien.methods.igc_net.protocol import CLAIMS, MAIN, OURS, ROWS
from mien.methods.igc_net.seen import BASELINES

DESIGN = {"depth", "hierarchy", "parts", "semantic", "assembly", "three_d"}


def test_the_designs_claims_are_all_there_and_their_rows_too():
    rows = {row.id: row for row in ROWS}
    assert {c.id for c in CLAIMS if c.kind != "extra"} == DESIGN
    assert {c.id for c in CLAIMS if c.kind == "mechanism"} == {"depth", "hierarchy"}
    assert MAIN in rows
    for claim in CLAIMS:
        assert set(claim.rows) <= set(rows), claim.id
        assert all(rows[r].group == "claims" for r in claim.rows), claim.id
        assert len(claim.metrics()) == len(claim.rows), claim.id


def test_at_most_six_rows_of_the_claims_are_trained_with_the_same_budget():
    trained = {s.id: s.recipe for row in ROWS if row.group == "claims" for s in row.stages}
    assert set(trained) == {"capsules", "single", "no-semantic", "alpha", "autoencoder2d"}
    assert {(r.schedule.steps, r.schedule.batch, r.data) for r in trained.values()} == {
        (OURS.recipe.schedule.steps, OURS.recipe.schedule.batch, OURS.recipe.data)
    }


def test_baselines_share_the_main_rows_stage():
    own = {row.id for row in ROWS if row.evals[0].options.get("baseline") == row.id}
    assert own == set(BASELINES)
    assert all(row.stages == (OURS,) for row in ROWS if row.id in own)


def test_depth_holds_only_if_both_errors_fall():
    claim = next(c for c in CLAIMS if c.id == "depth")
    rng = np.random.default_rng(0)
    side, mad = 1.4 + 0.1 * rng.random((3, 200)), 28 + rng.random((3, 200))
    both = (0.9 * side, side, 0.95 * mad, mad)
    assert judge(claim.rule, both).holds is True
    one = (0.9 * side, side, 1.05 * mad, mad)
    assert judge(claim.rule, one).holds is False
