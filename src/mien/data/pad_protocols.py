"""All readers of anti-spoofing sets in one literal table, and protocols that join several sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mien.core.errors import ConfigError
from mien.data.pad_casia import CasiaSurf, Cefa, FlexibleModal, HiFiMask
from mien.data.pad_made import SyntheticPAD
from mien.data.pad_ocim import CasiaFasd, MsuMfsd, OuluNpu, ReplayAttack
from mien.data.pad_reader import PadReader
from mien.data.pad_sample import PadList, joined
from mien.data.pad_suhifimask import SuHiFiMaskPad
from mien.data.pad_wmca import Wmca

PAD_READERS: dict[str, PadReader] = {
    reader.name: reader
    for reader in (
        CasiaSurf,
        Cefa,
        Wmca,
        HiFiMask,
        OuluNpu,
        MsuMfsd,
        CasiaFasd,
        ReplayAttack,
        FlexibleModal,
        SuHiFiMaskPad,
        SyntheticPAD,
    )
}
"""Name -> reader."""
_WHOLE = {"oulu_npu": "all", "casia_cefa": "all"}
"""The protocol that is a whole set, where it is not the default one."""
CROSS_SETS: dict[str, tuple[tuple[str, ...], str]] = {
    "O&C&I->M": (("oulu_npu", "casia_fasd", "replay_attack"), "msu_mfsd"),
    "O&M&I->C": (("oulu_npu", "msu_mfsd", "replay_attack"), "casia_fasd"),
    "O&C&M->I": (("oulu_npu", "casia_fasd", "msu_mfsd"), "replay_attack"),
    "I&C&M->O": (("replay_attack", "casia_fasd", "msu_mfsd"), "oulu_npu"),
    "M&I->C": (("msu_mfsd", "replay_attack"), "casia_fasd"),
    "M&I->O": (("msu_mfsd", "replay_attack"), "oulu_npu"),
    "SCW": (("casia_surf", "casia_cefa"), "wmca"),
}
"""Protocol -> (sets to train on, set to test on). O OULU-NPU, C CASIA-FASD, I Replay-Attack, M MSU-MFSD; SCW:
CASIA-SURF and CeFA to train, WMCA to test (many cameras)."""


def cross_set(
    roots: Mapping[str, str | Path], protocol: str, split: str, *, whole_sources: bool = False
) -> PadList:
    """Train on some sets, test on the whole of another.

    "train" is the training split of each source, "dev" their dev splits (for a threshold that has not seen
    the target; where a set has none, its test split), "test" all of the target. Videos and subjects have the
    name of their set in front.

    Args:
        roots: name of a set (see `CROSS_SETS`) -> its folder.
        protocol: one of `CROSS_SETS`.
        split: "train", "dev" or "test".
        whole_sources: train on all splits of the sources, as some papers do; there is no dev split then.

    Raises:
        ConfigError: no such protocol or split, or a folder is not given.
        DataError: a set is missing or damaged.
    """
    if protocol not in CROSS_SETS:
        raise ConfigError(f"no cross-set protocol {protocol!r}; there are {', '.join(CROSS_SETS)}")
    sources, target = CROSS_SETS[protocol]
    if split not in ("train", "dev", "test") or (split == "dev" and whole_sources):
        known = "train, test" if whole_sources else "train, dev, test"
        raise ConfigError(f"{protocol}: no split {split!r}; there are {known}")
    names = (target,) if split == "test" else sources
    if missing := [n for n in names if n not in roots]:
        raise ConfigError(f"{protocol} {split}: no folder given for {', '.join(missing)}")
    lists = []
    for name in names:
        reader = PAD_READERS[name]
        for part in _parts(reader, split, whole_sources):
            lists.append(reader(roots[name], _WHOLE.get(name), part))
    return joined(protocol, protocol, split, lists)


def _parts(reader: PadReader, split: str, whole_sources: bool) -> tuple[str, ...]:
    """Splits of one set that make up a split of the protocol."""
    if split == "test" or whole_sources:
        return reader.splits
    return (split,) if split in reader.splits else ("test",)
