from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.data.config import DomainData
from mien.data.domains import emoji_dg, split_dataset, unseen_glyphs
from mien.data.holdout import hold_out

EMOJI = emoji_dg()


@pytest.mark.parametrize(
    ("held_out", "sources"),
    [
        ((), ["fluent", "noto", "twemoji"]),
        (("noto",), ["fluent", "twemoji"]),
        (("twemoji", "fluent"), ["noto"]),
    ],
)
def test_sources_and_targets(held_out, sources):
    found, targets = hold_out(EMOJI, DomainData(held_out=held_out))
    assert [s.name for s in found] == sources
    assert [t.name for t in targets] == sorted(held_out)
    for split in (*found, *targets):
        i = EMOJI.names.index(split.name)
        outer, inner = split_dataset(len(EMOJI.sets[i]), 0, i)
        assert np.array_equal(split.inner.keys, EMOJI.sets[i].keys[inner])
        assert np.array_equal(split.outer.keys, EMOJI.sets[i].keys[outer])


def test_unseen_concepts_are_nowhere_in_training_and_alone_in_the_test():
    unseen = unseen_glyphs(EMOJI)
    sources, (target,) = hold_out(EMOJI, DomainData(concepts="unseen"))
    for split in sources:
        assert not np.isin(split.inner.keys, unseen).any()
        assert not np.isin(split.outer.keys, unseen).any()
    assert np.isin(target.inner.keys, unseen).all()
    assert len(target.inner) > 100


def test_names_are_checked():
    with pytest.raises(ConfigError, match="did you mean 'noto'"):
        hold_out(EMOJI, DomainData(held_out=("nota",)))
    with pytest.raises(ConfigError, match="none, one or two"):
        DomainData(held_out=("noto", "noto"))
