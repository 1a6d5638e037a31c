"""Masses and charges of sets: hand-worked products, matches by looks, clips that stay apart."""

from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.phycine.concepts import FitSettings, Latents, misfit
from mien.methods.phycine.found import (
    Gaussians,
    clip_latents,
    matched_by_look,
    matched_parts,
    set_concepts,
    set_latents,
    shared_latents,
)
from mien.methods.phycine.laws import Laws
from mien.methods.phycine.sight import Seen, SeenSets
from mien.synth import PhysWorld

ALL = torch.ones(3, dtype=torch.bool)
LOOKS = torch.tensor([[0.0, 1.0], [1.0, 0.0], [5.0, 5.0]])


def seen_as(looks, present):
    """Clips of one frame with given looks (B, N, D) and presence (B, N)."""
    looks, present = torch.as_tensor(looks), torch.as_tensor(present)
    place = torch.zeros(*present.shape[:1], 1, present.shape[1], 2)
    return Seen(place, present[:, None], looks, looks[:, None])


def gaussians(mass, mass_std, charge, charge_std):
    mean = Latents(torch.tensor(mass), torch.tensor(charge))
    return Gaussians(mean, Latents(torch.tensor(mass_std), torch.tensor(charge_std)))


def test_looks_in_another_order_are_matched():
    order = [2, 0, 1]
    noise = 0.1 * torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    found = matched_by_look(LOOKS, LOOKS[order] + noise, ALL, ALL)
    assert found == [(0, 1), (1, 2), (2, 0)]


def test_slots_without_an_object_are_matched_with_nothing():
    some = torch.tensor([True, False, True])
    assert matched_by_look(LOOKS, LOOKS, ALL, some) == [(0, 0), (2, 2)]
    assert matched_by_look(LOOKS, LOOKS, some, ALL) == [(0, 0), (2, 2)]
    assert matched_by_look(LOOKS, LOOKS, ALL, ~ALL) == []
    near_nothing = torch.tensor([[0.4, 0.0]])  # nearer to an empty slot's zeros than to (1, 0)
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert matched_by_look(target, near_nothing, torch.tensor([True, False]), ALL[:1]) == [(0, 0)]


def worked():
    """A target of two objects; a reference that shows them in the other order and with turned charges."""
    targets = gaussians([[0.0, 1.0]], [[1.0, 1.0]], [[1.0, -1.0]], [[0.5, 0.5]])
    references = gaussians([[3.0, 2.0]], [[0.5, 1.0]], [[2.0, -0.5]], [[1.0, 0.5]])
    here = [[True, True]]
    seen = SeenSets(seen_as(LOOKS[None, :2], here), seen_as(LOOKS[None, [1, 0]], here), 1)
    return targets, references, seen


def test_the_worked_product_of_a_set():
    """Object 0: N(0, 1) N(2, 1), N(1, .5) N(.5, .5); object 1: N(1, 1) N(3, .5), N(-1, .5) N(-2, 1)."""
    found = set_latents(*worked(), 1)
    assert found.mean.mass[0].tolist() == pytest.approx([1.0, 13 / 5])
    assert found.std.mass[0].tolist() == pytest.approx([2**-0.5, 5**-0.5])
    assert found.mean.charge[0].tolist() == pytest.approx([0.75, -6 / 5])
    assert found.std.charge[0].tolist() == pytest.approx([8**-0.5, 5**-0.5])


def test_a_references_sign_does_not_matter():
    targets, references, seen = worked()
    turned = Gaussians(Latents(references.mean.mass, -references.mean.charge), references.std)
    one, other = (set_latents(targets, r, seen, 1) for r in (references, turned))
    assert torch.equal(one.mean.charge, other.mean.charge)
    assert torch.equal(one.std.charge, other.std.charge)


def test_without_references_the_target_is_as_it_was():
    targets, references, seen = worked()
    found = set_latents(targets, references, seen, 0)
    for a, b in zip(found, targets, strict=True):
        torch.testing.assert_close(tuple(a), tuple(b))
    for refs in (-1, 2):
        with pytest.raises(ConfigError, match=rf"refs={refs}: 0 .. 1, as many as each set has"):
            set_latents(targets, references, seen, refs)


def test_what_a_reference_does_not_show_stays():
    targets, references, seen = worked()
    hidden = SeenSets(seen.targets, seen_as(LOOKS[None, [1, 0]], [[False, True]]), 1)
    found = set_latents(targets, references, hidden, 1)
    assert found.mean.mass[0].tolist() == pytest.approx([1.0, 1.0])
    assert found.std.mass[0].tolist() == pytest.approx([2**-0.5, 1.0])
    assert found.mean.charge[0].tolist() == pytest.approx([0.75, -1.0])


def test_sets_do_not_mix():
    """Two sets with one reference each: the second alone gives the same."""
    targets, references, seen = worked()
    other = gaussians([[4.0, 4.0]], [[1.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]])

    def both(a, b):
        return Gaussians(
            *(Latents(*map(torch.cat, zip(x, y, strict=True))) for x, y in zip(a, b, strict=True))
        )

    def twice(one):
        return Seen(*(torch.cat([x, x]) for x in (one.place, one.present, one.look, one.code)))

    pair = SeenSets(twice(seen.targets), twice(seen.references), 1)
    found = set_latents(both(targets, targets), both(other, references), pair, 1)
    alone = set_latents(targets, references, seen, 1)
    torch.testing.assert_close(found.mean.mass[1], alone.mean.mass[0])
    assert not torch.allclose(found.mean.mass[0], alone.mean.mass[0])


def clips(count, seed):
    path = torch.tensor(PhysWorld(n_objects=2, half=1.0, seed=seed).simulate(count, 10).x).float()
    looks = LOOKS[None, :2].expand(count, -1, -1)
    present = torch.ones(path.shape[:3], dtype=torch.bool)
    return Seen(path, present, looks, looks[:, None].expand(-1, 10, -1, -1))


def test_a_sets_concepts_are_those_of_its_clips_together():
    torch.manual_seed(0)
    laws, settings = Laws(8), FitSettings(window=3, infer_steps=4)
    seen = SeenSets(clips(2, 0), clips(4, 1), 2)
    found = set_concepts(laws, settings, seen, 0.1, 8)
    targets = clip_latents(laws, settings, seen.targets.until(8), 0.1)
    references = clip_latents(laws, settings, seen.references, 0.1)
    product = set_latents(targets, references, seen, 2)
    cut = SeenSets(seen.targets.until(8), seen.references, 2)
    again = shared_latents(laws, settings, product.mean, matched_parts(cut, 2), 0.1)
    assert torch.equal(found.mean.charge, again.charge)
    assert torch.equal(found.std.mass, product.std.mass)
    assert bool((found.std.mass <= targets.std.mass + 1e-6).all())  # more clips, never less known
    part = references.clips(slice(2, 4))
    assert torch.equal(part.mean.mass, references.mean.mass[2:])
    assert torch.equal(part.std.charge, references.std.charge[2:])


def test_clips_show_which_of_a_sets_objects_by_their_looks():
    looks = LOOKS[None, [1, 0]].expand(2, -1, -1)
    seen = SeenSets(seen_as(LOOKS[None], [[True] * 3]), seen_as(looks, [[True, True], [False, True]]), 2)
    target, references = matched_parts(seen, 2)
    assert (target.sets.tolist(), target.of.tolist()) == ([0], [[0, 1, 2]])
    assert (references.sets.tolist(), references.of.tolist()) == ([0, 0], [[1, 0], [3, 0]])
    assert [len(p.seen.place) for p in matched_parts(seen, 1)] == [1, 1]
    assert len(matched_parts(seen, 0)) == 1


def shared(seen, refs, settings, laws, start=None):
    start = start or Latents(*torch.full((2, *seen.targets.place[:, 0, :, 0].shape), 0.1))
    return shared_latents(laws, settings, start, matched_parts(seen, refs), 0.1)


def test_shared_latents_explain_all_clips_of_a_set_better():
    torch.manual_seed(0)
    laws, settings = Laws(8), FitSettings(window=3, infer_steps=40, infer_lr=0.02)
    seen = SeenSets(clips(2, 0), clips(4, 1), 2)

    @torch.no_grad()
    def lost(z):
        doubled = Latents(*(x.repeat_interleave(2, 0) for x in z))
        target, references = seen.targets, seen.references
        whole = misfit(laws, target.place, target.present, z, settings, 0.1).sum()
        return float(whole + misfit(laws, references.place, references.present, doubled, settings, 0.1).sum())

    start = Latents(*torch.full((2, 2, 2), 0.1))
    assert lost(shared(seen, 2, settings, laws, start)) < lost(shared(seen, 0, settings, laws, start))


def test_sets_do_not_know_each_other():
    torch.manual_seed(0)
    laws, settings = Laws(8), FitSettings(window=3, infer_steps=5)
    seen = SeenSets(clips(2, 0), clips(4, 1), 2)
    one = SeenSets(seen.targets.clips(slice(1, 2)), seen.references.clips(slice(2, 4)), 2)
    whole, alone = (shared(s, 2, settings, laws) for s in (seen, one))
    torch.testing.assert_close(whole.charge[1:], alone.charge)
    torch.testing.assert_close(whole.mass[1:], alone.mass)
