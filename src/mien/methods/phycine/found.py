"""Masses and charges of a set's objects: found in each clip alone, then brought together by looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.phycine.concepts import (
    FitSettings,
    Latents,
    infer,
    misfit,
    product_of_gaussians,
    same_sign,
    slopes,
    spreads,
)
from mien.methods.phycine.kept import kept, weights_key
from mien.methods.phycine.sight import Seen, SeenSets
from mien.methods.phycine.tracks import assign

Find = Callable[..., Latents]


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


def clip_latents(
    laws: nn.Module, settings: FitSettings, seen: Seen, dt: float, seed: int = 0, find: Find = infer
) -> Gaussians:
    """Posteriors of each clip alone, means by `infer` or what has its arguments. O(steps B T N^2)."""
    mean = find(laws, seen.place, seen.present, settings, dt=dt, seed=seed)
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


class Part(NamedTuple):
    """B clips of some sets' objects.

    Attributes:
        seen: the clips.
        sets: (B,) whose they are.
        of: (B, M) which of the set's N objects each of the clip's is; N: none of them.
    """

    seen: Seen
    sets: Tensor
    of: Tensor


def matched_parts(seen: SeenSets, refs: int) -> list[Part]:
    """Targets and their first ``refs`` references, objects matched by looks. O(S R N^3)."""
    targets, references = seen.targets, seen.references
    device, count = targets.place.device, targets.place.shape[2]
    sets = torch.arange(len(targets.place), device=device)
    parts = [Part(targets, sets, torch.arange(count, device=device).expand(len(sets), -1))]
    clips = torch.arange(len(references.place), device=device).view(len(sets), seen.refs)[:, :refs].flatten()
    if not len(clips):
        return parts
    of = torch.full((len(clips), references.place.shape[2]), count, device=device)
    for row, clip in enumerate(clips.tolist()):
        s = clip // seen.refs
        shown, there = targets.present[s].any(0), references.present[clip].any(0)
        for i, k in matched_by_look(targets.look[s], references.look[clip], shown, there):
            of[row, k] = i
    return [*parts, Part(references.clips(clips), clips // seen.refs, of)]


def shared_latents(
    laws: nn.Module, settings: FitSettings, start: Latents, parts: Sequence[Part], dt: float
) -> Latents:
    """Latents (S, N) that explain all clips of a set at once: the product of posteriors, without Laplace.

    From ``start``; what a clip shows beside the set's objects has latents of its own. Sets do not know each
    other. O(steps clips T N^2).
    """
    shared = [z.clone().requires_grad_() for z in start]
    own = [[z.new_zeros(p.of.shape).requires_grad_() for z in start] for p in parts]
    leaves = [*shared, *(z for pair in own for z in pair)]
    optimizer = torch.optim.Adam(leaves, lr=settings.infer_lr)
    count = start.mass.shape[1]
    for _ in range(settings.infer_steps):
        loss = start.mass.new_zeros(())
        for part, alone in zip(parts, own, strict=True):
            at = part.of.clamp_max(count - 1)
            z = Latents(
                *(
                    torch.where(part.of < count, whole[part.sets].gather(1, at), single)
                    for whole, single in zip(shared, alone, strict=True)
                )
            )
            loss = loss + misfit(laws, part.seen.place, part.seen.present, z, settings, dt).sum()
        for leaf, g in zip(leaves, slopes(loss, leaves), strict=True):
            leaf.grad = g
        optimizer.step()
    return Latents(*(z.detach() for z in shared))


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
    """Posteriors of the targets' objects from what is shown of them and all references.

    The product of the clips' Gaussians, its mean refined on all clips at once (`shared_latents`).
    """
    seen = replace(seen, targets=seen.targets.until(shown))
    targets, references = (clip_latents(laws, settings, s, dt) for s in (seen.targets, seen.references))
    found = set_latents(targets, references, seen, seen.refs)
    mean = shared_latents(laws, settings, found.mean, matched_parts(seen, seen.refs), dt)
    return Gaussians(mean, found.std)
