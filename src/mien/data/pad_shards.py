"""Live faces and attacks in WebDataset shards: a sample's cameras are files of one key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import SUFFIXES, read_image
from mien.core.seeds import keys_of
from mien.data.pad_files import depth_pixels, ir_pixels
from mien.data.pad_images import MODALITIES, PadImages, PadLabels
from mien.data.pad_modalities import depth_map, ir_map, stored_picture
from mien.data.pad_sample import LIVE
from mien.data.tar_samples import Place, TarSample, samples_of


class PadFound(NamedTuple):
    """One sample of a shard."""

    where: str
    places: dict[str, Place]
    species: str
    subject: str
    device: str
    video: str
    frame: str


class PadShards(PadImages):
    """Samples of shards in the order in which they lie there; each is shown once an epoch. Memory O(samples).

    The files of a sample are ``KEY.rgb.jpg`` (or ``KEY.jpg``), ``KEY.depth.png`` and ``KEY.ir.png``, or some
    of them, in any common format (depth: see `mien.data.pad_modalities.depth_map`), and ``KEY.json``: "live"
    (true or false) or "species" ("live", or the attack); "subject", "device", "video" and "frame" where they
    are known. Without "video" each sample is one.

    Args:
        found: what lies there.

    Raises:
        DataError: no samples, or one that lacks a camera which others have.
    """

    def __init__(self, found: Sequence[PadFound]) -> None:
        self.found = tuple(found)
        if not self.found:
            raise DataError("no samples in these shards; complete the set")
        held = {m for one in self.found for m in one.places}
        self.modalities = tuple(m for m in MODALITIES if m in held)
        for one in self.found:
            if missing := [m for m in self.modalities if m not in one.places]:
                raise DataError(
                    f"{one.where} has no {missing[0]} picture, which others have; complete it, or leave"
                    f" {missing[0]} out of all"
                )
        keys = keys_of([f"{one.video}\x1f{one.frame}" for one in self.found])
        text = [np.array(column) for column in list(zip(*self.found, strict=True))[2:6]]
        self.labels = PadLabels(text[0], text[1], text[2], keys, text[3])
        files = [next(iter(one.places.values())).file for one in self.found]
        number = {file: k for k, file in enumerate(dict.fromkeys(files))}
        self.shards = np.array([number[file] for file in files], np.int64)

    def pictures(self, modality: str, indices: Sequence[int] | NDArray[Any]) -> list[NDArray[np.uint8]]:
        """See `PadImages`; depth and infrared as `depth_pixels` and `ir_pixels` have them.

        Raises:
            DataError: a picture is damaged.
        """
        return [self._picture(modality, self.found[int(i)]) for i in indices]

    def _picture(self, modality: str, one: PadFound) -> NDArray[np.uint8]:
        name = f"{one.where}.{modality}"
        if modality == "rgb":
            return read_image(one.places[modality].data(name), name=name)
        raw = _raw(modality, one)
        return depth_pixels(depth_map(raw, name)) if modality == "depth" else ir_pixels(ir_map(raw, name))

    def raw(self, modality: str, index: int) -> NDArray[Any]:
        """What is stored, with its own type: (H, W) or (H, W, 3)."""
        return _raw(modality, self.found[index])

    def subset(self, indices: NDArray[Any]) -> PadShards:
        """Only these places, in this order."""
        return PadShards([self.found[int(i)] for i in indices])

    @property
    def fingerprint(self) -> str:
        """Hash of names and labels, not of pixels."""
        digest = hashlib.sha256(" ".join(self.modalities).encode() + self.labels.digest().encode())
        return digest.hexdigest()[:16]


def _raw(modality: str, one: PadFound) -> NDArray[Any]:
    name = f"{one.where}.{modality}"
    return stored_picture(one.places[modality].data(name), name)


def pad_samples(shard: Path) -> list[PadFound]:
    """The samples of one shard.

    Raises:
        DataError: the shard is damaged, or a sample has no picture or no label, or a label that is none.
    """
    return [_sample(sample) for sample in samples_of(shard, ("json",))]


def _sample(sample: TarSample) -> PadFound:
    places = {}
    for ending, place in sample.places.items():
        first, _, rest = ending.rpartition(".")
        if f".{rest}".endswith(SUFFIXES) and (first or "rgb") in MODALITIES:
            places[first or "rgb"] = place
    if not places:
        held = ", ".join([*sample.places, *sample.texts])
        raise DataError(
            f"{sample.where} has no picture (it has {held}); call them KEY.rgb.jpg, KEY.depth.png, KEY.ir.png"
        )
    facts = sample.facts()
    told = {name: str(facts.get(name, "")) for name in ("subject", "device", "video", "frame")}
    video = told["video"] or f"{sample.shard.stem}/{sample.key}"
    device = told["device"] or "unknown"
    return PadFound(
        sample.where, places, _species(sample, facts), told["subject"] or video, device, video, told["frame"]
    )


def _species(sample: TarSample, facts: dict[str, Any]) -> str:
    """What is shown: "live", or the attack."""
    live, species = facts.get("live"), facts.get("species")
    if live is None and species is None:
        raise DataError(f'{sample.where} has no label: its .json needs "live" (true or false) or "species"')
    if live not in (None, True, False):
        raise DataError(f'{sample.where}.json: "live" is {str(live)[:40]!r}, expected true or false')
    if live is not None and species is not None and bool(live) != (species == LIVE):
        raise DataError(f'{sample.where}.json: "live" is {live}, but "species" is {str(species)[:40]!r}')
    return str(species) if species else LIVE if live else "attack"
