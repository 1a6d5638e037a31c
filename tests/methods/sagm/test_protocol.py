from __future__ import annotations

from mien.methods.sagm.protocol import CLAIMS, ROWS, STYLES

OF = {row.id: row for row in ROWS}


def test_a_line_holds_every_style_out_once():
    for name in ("erm", "sam_05", "sagm_05", "sam_2", "sagm_2", "sagm_zero"):
        held = [stage.recipe.data.held_out for stage in OF[name].stages]
        assert held == [(style,) for style in STYLES], name
        assert OF[name].models == "all"


def test_rows_of_one_claim_differ_in_the_optimiser_only():
    long, few = ("erm", "sam_05", "sagm_05", "sam_2", "sagm_zero"), ("erm_few", "gsam_few")
    for base, name in [*(("sagm_2", n) for n in long), *(("sagm_few", n) for n in few)]:
        for ours, theirs in zip(OF[base].stages, OF[name].stages, strict=True):
            assert ours.recipe.schedule == theirs.recipe.schedule
            assert ours.recipe.data == theirs.recipe.data
            assert ours.recipe.method == theirs.recipe.method
            assert ours.recipe.optim.lr == theirs.recipe.optim.lr
            assert ours.recipe.optim != theirs.recipe.optim


def test_swad_is_averaged_in_the_trainings_of_the_other_selections():
    for name in ("erm", "sagm_05", "sagm_2"):
        assert {e.select for e in OF[name].evals} >= {"iid", "last", "swad", "oracle"}


def test_claims_name_rows_and_evaluations_that_exist():
    for claim in CLAIMS:
        for row in claim.rows:
            assert claim.eval in {e.id for e in OF[row].evals}, (claim.id, row)
