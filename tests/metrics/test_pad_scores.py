from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError, ShapeError
from mien.metrics.pad_scores import ANY_SPECIES, pad_samples, pad_sets, species_codes
from tests.metrics.pad_twin import TEST, Twin, made


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("levels", [None, 2])
def test_rates_are_those_of_the_loop_at_every_candidate(strict, levels):
    scores, live, pai = made(60, 3, levels)
    sets, twin = pad_sets(scores, live, pai, strict), Twin(scores, live, pai, strict)
    assert sets.candidates().tolist() == twin.candidates
    for t in twin.candidates:
        assert {k: float(v) for k, v in sets.apcer(t).items()} == pytest.approx(
            {k: float(v) for k, v in twin.apcer(t).items()}
        )
        assert float(sets.apcer_max(t)) == pytest.approx(float(twin.apcer_kind(t, "max")))
        assert float(sets.apcer_pooled(t)) == pytest.approx(float(twin.apcer_kind(t, "pooled")))
        assert float(sets.bpcer(t)) == pytest.approx(float(twin.bpcer(t)))


def test_candidates_around_a_value():
    sets = pad_sets(*TEST)
    assert sets.candidate_above(0.58) == 0.62
    assert sets.candidate_above(0.575) == 0.58
    assert sets.candidate_above(0.91) == np.inf
    strict = pad_sets(*TEST, strict=True)
    assert (sets.as_ruled(0.62), strict.as_ruled(0.62)) == (0.62, 0.58)
    assert (strict.as_ruled(0.02), strict.as_ruled(np.inf)) == (-np.inf, np.inf)


def test_species_are_named_and_numbered_in_order():
    for many in (["b", "a", "b"], np.array(["b", "a", "b"]), np.array(["b", "a", "b"], object)):
        code, names = species_codes(many)
        assert (code.tolist(), names) == ([1, 0, 1], ("a", "b"))
    code, names = species_codes([10, 9, 10])
    assert (code.tolist(), names) == ([1, 0, 1], ("9", "10"))
    labels = np.array([f"{k % 40:02d}" for k in range(1000)])
    code, names = species_codes(labels)
    assert names == tuple(sorted(set(labels.tolist())))
    assert [names[c] for c in code] == labels.tolist()


def test_species_of_live_faces_are_not_looked_at():
    samples = pad_samples([0.9, 0.8, 0.1], [1, 1, 0], np.array(["", None, "print"], object))
    assert samples.names == ("print",)
    assert samples.code.tolist() == [0, 0, 1]
    assert pad_samples([0.9, 0.1], [1, 0]).names == (ANY_SPECIES,)


@pytest.mark.parametrize(
    ("scores", "live", "pai", "error", "match"),
    [
        ([0.1, 0.2, 0.3], [1, 0], None, ShapeError, r"scores and live must be \(n,\) alike, got \(3,\) and"),
        ([0.1, 0.2], [1, -1], None, ShapeError, "live must hold booleans or 0 and 1 only"),
        ([0.1, 0.2], [1, 0], ["a"], ShapeError, r"pai must be \(2,\) like scores, got \(1,\)"),
        ([0.1, np.nan], [1, 0], None, DataError, "1 of 2 scores are NaN or [+]inf, the first at 1"),
        ([0.1, -np.inf], [1, 0], None, DataError, "score 1 of 2 is -inf; mark faces without a score with"),
        ([0.1, 0.2], [1, 1], None, DataError, "all 2 scores are live: rates need at least one attack score"),
        ([0.1, 0.2], [0, 0], None, DataError, "all 2 scores are attack: rates need at least one live score"),
        ([0.5, 0.5], [1, 0], None, DataError, "all 2 scores are 0.5: nothing tells live faces from attacks"),
        ([0.5, 0.6], [1, 0], ["", ""], DataError, "attack 0 of 1 has no species; name it"),
    ],
)
def test_bad_input_is_one_line(scores, live, pai, error, match):
    with pytest.raises(error, match=match) as caught:
        pad_samples(scores, live, pai)
    assert "\n" not in str(caught.value)
    with pytest.raises(error, match=f"^dev set: {match}"):
        pad_samples(scores, live, pai, "dev set")
