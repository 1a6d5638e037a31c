"""Which domains are trained on and which are tested on, as a config says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.data.config import DomainData
from mien.data.domains import Domains, DomainSplit, split_dataset, unseen_glyphs
from mien.data.labelled import LabelledImages


def hold_out(domains: Domains, config: DomainData) -> tuple[list[DomainSplit], list[DomainSplit]]:
    """The source domains and the held-out ones, each cut by DomainBed's rule.

    Train on the sources' inner parts, select on their outer parts, report on the inner parts of the others.
    With ``concepts="unseen"`` the sources lose 30 % of the glyphs, and only those stay in the held-out.

    Raises:
        ConfigError: no such domain (with the nearest name), or none is left to train on.
    """
    held = {domains.index(name) for name in config.held_out}
    if len(held) == len(domains.names):
        raise ConfigError(f"data.held_out={list(config.held_out)} leaves no domain of {list(domains.names)}")
    parts = []
    for i, (name, images) in enumerate(zip(domains.names, domains.sets, strict=True)):
        outer, inner = split_dataset(len(images), config.trial_seed, i, config.holdout)
        parts.append(DomainSplit(name, images.subset(inner), images.subset(outer)))
    if config.concepts == "unseen":
        unseen = unseen_glyphs(domains)
        parts = [_keep(p, unseen, wanted=i in held) for i, p in enumerate(parts)]
    return [p for i, p in enumerate(parts) if i not in held], [parts[i] for i in sorted(held)]


def _keep(part: DomainSplit, unseen: NDArray[np.uint64], *, wanted: bool) -> DomainSplit:
    def only(images: LabelledImages) -> LabelledImages:
        return images.subset(np.flatnonzero(np.isin(images.keys, unseen) == wanted))

    return replace(part, inner=only(part.inner), outer=only(part.outer))
