"""Masses and charges of a set's objects: found in each clip alone, then brought together by looks."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.phycine.concepts import (
    FitSettings,
    Latents,
    infer,
    product_of_gaussians,
    same_sign,
    spreads,
)
from mien.methods.phycine.kept import kept, weights_key
from mien.methods.phycine.sight import Seen, SeenSets
from mien.methods.phycine.tracks import assign


class Gaussians(NamedTuple):
    """Posteriors of clips' objects, (B, N) each.

    Attributes:
        mean: z_m, z_c.
        std: deviations of both.
    """

    mean: Latents
    std: Latents

    def clips(self, which: slice) -> Gaussians:
        """Some of the clips."""
        return Gaussians(*(Latents(*(z[which] for z in part)) for part in self))


def clip_latents(laws: nn.Module, settings: FitSettings, seen: Seen, dt: float, seed: int = 0) -> Gaussians:
    """Posteriors of each clip alone. O(steps B T N^2)."""
    mean = infer(laws, seen.place, seen.present, settings, dt=dt, seed=seed)
    return Gaussians(mean, spreads(laws, seen.place, seen.present, mean, settings, dt))


def matched_by_look(target: Tensor, reference: Tensor, shown: Tensor, there: Tensor) -> list[tuple[int, int]]:
    """(object of the target, object of the reference) that look alike. O(N^3).

    Args:
        target: (N, D) looks.
        reference: (M, D) looks.
        shown: (N,) which slots of the target show an object.
        there: (M,) which slots of the reference do.
    """
    rows, columns = torch.nonzero(shown).flatten(), torch.nonzero(there).flatten()
    far = torch.cdist(target[rows][None].double(), reference[columns][None].double())[0]
    return [(int(rows[i]), int(columns[k])) for i, k in assign(far.cpu().numpy(), float("inf"))]


def set_latents(targets: Gaussians, references: Gaussians, seen: SeenSets, refs: int) -> Gaussians:
    """The product of the Gaussians of a target's objects over the target and its first ``refs`` references.

    Charges of a clip are known up to one sign: each is turned to fit those before it (`same_sign`).
    O(S R N^3).

    Args:
        targets: of S clips.
        references: of S R clips, set by set.
        seen: where the looks are.
        refs: references to use, 0 .. R.

    Raises:
        ConfigError: more references than there are.
    """
    if not 0 <= refs <= seen.refs:
        raise ConfigError(f"refs={refs}: 0 .. {seen.refs}, as many as each set has")
    means, stds = (torch.stack(tuple(part)) for part in targets)  # (2, S, N)
    out_mean, out_std = means.clone(), stds.clone()
    for s in range(means.shape[1]):
        found_mean, found_std = [means[:, s]], [stds[:, s]]
        for r in range(s * seen.refs, s * seen.refs + refs):
            mean, std = torch.zeros_like(means[:, s]), torch.full_like(means[:, s], torch.inf)
            shown, there = seen.targets.present[s].any(0), seen.references.present[r].any(0)
            for i, k in matched_by_look(seen.targets.look[s], seen.references.look[r], shown, there):
                for what in range(2):
                    mean[what, i], std[what, i] = references.mean[what][r, k], references.std[what][r, k]
            found_mean.append(mean)
            found_std.append(std)
        mean, std = torch.stack(found_mean, 1), torch.stack(found_std, 1)
        mean[1] = same_sign(mean[1], std[1])
        for what in range(2):
            out_mean[what, s], out_std[what, s] = product_of_gaussians(mean[what], std[what])
    return Gaussians(Latents(*out_mean), Latents(*out_std))


def kept_concepts(
    laws: nn.Module, settings: FitSettings, seen: SeenSets, dt: float, shown: int, key: object
) -> Gaussians:
    """`set_concepts`, kept on disk.

    Args:
        laws: trained.
        settings: see `set_concepts`.
        seen: see `set_concepts`.
        dt: see `set_concepts`.
        shown: see `set_concepts`.
        key: all that what is seen depends on.
    """

    def find() -> dict[str, Tensor]:
        found = set_concepts(laws, settings, seen, dt, shown)
        return {f"{p}.{z}": getattr(getattr(found, p), z) for p in found._fields for z in Latents._fields}

    told = kept("found", [weights_key(laws), asdict(settings), key, shown], find)
    mean, std = (Latents(*(told[f"{p}.{z}"] for z in Latents._fields)) for p in Gaussians._fields)
    return Gaussians(mean, std)


def set_concepts(laws: nn.Module, settings: FitSettings, seen: SeenSets, dt: float, shown: int) -> Gaussians:
    """Posteriors of the targets' objects from what is shown of them and all references."""
    targets = clip_latents(laws, settings, seen.targets.until(shown), dt)
    references = clip_latents(laws, settings, seen.references, dt)
    return set_latents(targets, references, seen, seen.refs)
