"""Kind of multi-domain set -> its reader: one literal table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mien.core.seeds import derive
from mien.data.config import DomainData
from mien.data.digits import digits_dg
from mien.data.domain_sets import domain_net, office_home, pacs, terra_incognita, vlcs
from mien.data.domains import Domains, MultiDomainImageFolder, emoji_dg
from mien.data.labelled import ArrayImages
from mien.data.rotated import colored_mnist, rotated_fashion, rotated_mnist


def debug_domains(config: DomainData) -> Domains:
    """Four classes of made stripes (angle = class) in three tints, for checks."""
    side = np.arange(config.size) / config.size - 0.5
    targets = np.tile(np.arange(4), 15)

    def draw(name: str, tint: tuple[int, int, int]) -> ArrayImages:
        rng = np.random.default_rng(derive(0, "debug domain", name))
        angle = targets * np.pi / 4 + rng.normal(0, 0.05, len(targets))
        phase = rng.uniform(0, 2 * np.pi, len(targets))
        wave = np.cos(angle)[:, None, None] * side + np.sin(angle)[:, None, None] * side[:, None]
        level = 0.5 + 0.4 * np.sin(25 * wave + phase[:, None, None]) + rng.normal(0, 0.05, wave.shape)
        pixels = np.clip(level[..., None] * np.array(tint), 0, 255).astype(np.uint8)
        return ArrayImages(pixels, targets, [f"stripe-{c}" for c in range(4)])

    names = ("blue", "green", "red")
    sets = tuple(
        draw(n, t) for n, t in zip(names, ((90, 120, 255), (80, 255, 90), (255, 80, 80)), strict=True)
    )
    return Domains(names, sets, real=False, note="made stripes")


READERS: dict[str, Callable[[DomainData], Domains]] = {
    "emoji_dg": lambda _: emoji_dg(),
    "digits_dg": lambda _: digits_dg(),
    "rotated_fashion": lambda _: rotated_fashion(),
    "debug": debug_domains,
    "rotated_mnist": lambda config: rotated_mnist(config.require_root()),
    "colored_mnist": lambda config: colored_mnist(config.require_root()),
    "pacs": lambda config: pacs(config.require_root()),
    "vlcs": lambda config: vlcs(config.require_root()),
    "office_home": lambda config: office_home(config.require_root()),
    "terra_incognita": lambda config: terra_incognita(config.require_root()),
    "domain_net": lambda config: domain_net(config.require_root()),
    "domains": lambda config: MultiDomainImageFolder(config.require_root()),
}


def read_domains(config: DomainData) -> Domains:
    """All domains of any kind of set.

    Raises:
        DataError: the set is missing or damaged.
    """
    return READERS[config.kind](config)
