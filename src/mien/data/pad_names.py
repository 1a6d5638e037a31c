"""What the names of published anti-spoofing sets say: label, instrument, subject, camera, session, scene.

The names are facts of the sets' own documentation; each function reads those of one set.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mien.data.pad_sample import LIVE

_END = r"(?:/|\.|$)"
_SURF = re.compile(
    r"(real|fake)_part/(?:[^/]*_part/)?(CLKJ_[A-Z]{2}[0-9]+)/(real|0[1-6]_[a-z]+_[sb])(?:\.rssdk)?" + _END
)
_CEFA = re.compile(r"((?:AF|CA|EA)-[0-9]{3})[^/]*/([123])_([0-9]{3})_([1-4])_([123])_([1-4])" + _END)
_CEFA_MASK = re.compile(
    r"(3D|Silicone)-Mask/([0-9]{3})/([12]_[0-9]{3}_([01])_([01])_([12])_([12])_([1-4]))" + _END
)
_HIFI = re.compile(r"(?:^|/)(([123])_([0-9]{2})_([0-3])_([1-6])_([0-6])_([0-8]))" + _END)
_WMCA = re.compile(r"(?:^|/)(([0-9]{3})_([0-9]{2})_([0-9]{3})_([0-5])_([0-9]{2}))" + _END)
_OULU = re.compile(r"(Train|Dev|Test)_files/(([1-6])_([123])_([0-9]{1,2})_([1-5]))" + _END)
_FASD = re.compile(r"(train|test)_release/([0-9]{1,2})/(HR_[1-4]|[1-8])" + _END)
_MSU = re.compile(
    r"((real|attack)_client([0-9]{3})_(android|laptop)_SD_"
    r"(?:(ipad_video|iphone_video|printed_photo)_)?scene([0-9]{2}))" + _END
)
_REPLAY_REAL = re.compile(
    r"real/(client([0-9]{3})_session([0-9]{2})_\w*?(adverse|controlled)(?:_[0-9]+)?)" + _END
)
_REPLAY_ATTACK = re.compile(
    r"attack/(fixed|hand)/(attack_(print|mobile|highdef)_client([0-9]{3})_session([0-9]{2})_\w*?"
    r"(photo|video)_(adverse|controlled))" + _END
)
_WORDS = re.compile(r"[a-z]+")
_LIVE_WORDS = frozenset(("real", "live", "bonafide", "genuine"))
_ATTACK_WORDS = frozenset(("fake", "spoof", "attack", "attacks"))

CEFA_DEVICES = {"1": "rssdk", "2": "mp4", "3": "bag", "4": "MOV"}
CEFA_SESSIONS = {"1": "indoor", "2": "outdoor", "3": "random"}
CEFA_PAIS = {"1": LIVE, "2": "cloth", "3": "picture", "4": "screen"}
HIFI_TYPES = {"0": LIVE, "1": "transparent", "2": "plaster", "3": "resin"}
_HIFI_SCENES = ("", "white", "green", "tricolour", "sunshine", "shadow", "motion")
_HIFI_LIGHTS = ("no", "normal", "dim", "bright", "back", "side", "top")
_HIFI_SENSORS = ("oximeter", "iPhone11", "iPhoneX", "MI10", "P40", "S20", "Vivo", "D435", "HJIM")
_MASK_LIGHTS = ("", "no light", "back light", "front light", "side light")
WMCA_PAIS = ("print", "replay", "flexiblemask", "rigidmask", "papermask", "fakehead", "glasses")


@dataclass(frozen=True)
class PadFacts:
    """What a name says of a presentation; see `mien.data.PadSample`."""

    pai: str
    video_id: str
    subject: str = ""
    device: str = ""
    session: str = ""
    scene: str = ""

    @property
    def is_live(self) -> bool:
        """Bona fide."""
        return self.pai == LIVE


def surf_facts(name: str) -> PadFacts | None:
    """CASIA-SURF: ``{real,fake}_part/<ID>/<type>.rssdk``. The instrument is the type, 01_e_s .. 06_enm_b.

    e, n, m: eyes, nose, mouth region cut out of the photograph; s: held still, b: bent.
    """
    if (m := _SURF.search(name)) is None:
        return None
    part, subject, kind = m.groups()
    pai = LIVE if part == "real" else kind
    return PadFacts(pai, f"{subject}/{part}/{kind}", subject, "SR300")


def cefa_facts(name: str) -> PadFacts | None:
    """CeFA: ``<RACE-ID>/<Race>_<ID>_<device>_<session>_<PAI>``, and its two folders of masks."""
    if m := _CEFA.search(name):
        subject, race, number, device, session, pai = m.groups()
        video = f"{subject}/{race}_{number}_{device}_{session}_{pai}"
        return PadFacts(CEFA_PAIS[pai], video, subject, CEFA_DEVICES[device], CEFA_SESSIONS[session])
    if m := _CEFA_MASK.search(name):
        kind, subject, video, _dress, _glasses, device, session, light = m.groups()
        pai = "3d_mask" if kind == "3D" else "silicone_mask"
        return PadFacts(
            pai,
            f"{pai}/{subject}/{video}",
            f"{pai}-{subject}",
            "D435i" if device == "2" else "camera",
            CEFA_SESSIONS[session],
            _MASK_LIGHTS[int(light)],
        )
    return None


def hifimask_facts(name: str) -> PadFacts | None:
    """HiFiMask: ``<skin>_<subject>_<type>_<scene>_<light>_<sensor>``."""
    if (m := _HIFI.search(name)) is None:
        return None
    video, _skin, subject, kind, scene, light, sensor = m.groups()
    where = f"{_HIFI_SCENES[int(scene)]}, {_HIFI_LIGHTS[int(light)]} light"
    return PadFacts(HIFI_TYPES[kind], video, subject, _HIFI_SENSORS[int(sensor)], "", where)


def wmca_facts(name: str) -> PadFacts | None:
    """WMCA: ``<client>_<session>_<presenter>_<type>_<pai>``; splits are by client, who is shown."""
    if (m := _WMCA.search(name)) is None:
        return None
    video, client, session, presenter, kind, number = m.groups()
    pai = wmca_pai(int(kind), int(number))
    scene = f"presenter {presenter}"
    return None if pai is None else PadFacts(pai, video, client, "face station", session, scene)


def wmca_pai(kind: int, number: int) -> str | None:
    """Instrument of a WMCA clip from its type (0 live, 1 glasses, 2 fake face, 3 print, 4 replay) and number.

    Types 1 - 3 are finer than that: some of 1 are rigid masks, some of 3 are shown on an electronic display.
    """
    if kind == 0:
        return LIVE
    if kind == 1:
        return "rigidmask" if number in (2, 13, 14) else "glasses"
    if kind == 2:
        fake = (("fakehead", 1, 7), ("papermask", 8, 11), ("rigidmask", 12, 17))
        return next((pai for pai, low, high in fake if low <= number <= high), "flexiblemask")
    if kind == 3:
        return "replay" if number in (5, 10, 15) else "print"
    return "replay" if kind == 4 else None


def oulu_facts(name: str) -> PadFacts | None:
    """OULU-NPU: ``{Train,Dev,Test}_files/<phone>_<session>_<user>_<file>``.

    File 1 is live, 2 and 3 are prints of two printers, 4 and 5 replays on two displays.
    """
    if (m := _OULU.search(name)) is None:
        return None
    _, video, phone, session, user, file = m.groups()
    number = int(file)
    pai = LIVE if number == 1 else "print" if number < 4 else "replay"
    scene = "" if number == 1 else f"{'printer' if number < 4 else 'display'} {1 + number % 2}"
    return PadFacts(pai, video, str(int(user)), f"phone {phone}", session, scene)


def fasd_facts(name: str) -> PadFacts | None:
    """CASIA-FASD: ``{train,test}_release/<subject>/<clip>``; subjects of both parts are different people."""
    if (m := _FASD.search(name)) is None:
        return None
    part, subject, clip = m.groups()
    number = int(clip.removeprefix("HR_"))
    group = number - 1 if clip.startswith("HR_") else (number - 1) // 2
    quality = "high" if clip.startswith("HR_") else "low" if number % 2 else "normal"
    pai = (LIVE, "warped", "cut", "replay")[group]
    return PadFacts(pai, f"{part}/{subject}/{clip}", f"{part}-{subject}", f"{quality} quality")


def msu_facts(name: str) -> PadFacts | None:
    """MSU-MFSD: ``{real,attack}_client<id>_{android,laptop}_SD_[<instrument>_]scene01``."""
    if (m := _MSU.search(name)) is None:
        return None
    video, kind, subject, device, pai, scene = m.groups()
    if (kind == "real") == bool(pai):
        return None
    return PadFacts(pai or LIVE, video, subject, device, "", scene)


def replay_facts(name: str) -> PadFacts | None:
    """Replay-Attack: ``real/client<id>_..`` and ``attack/{fixed,hand}/attack_<instrument>_client<id>_..``."""
    if m := _REPLAY_ATTACK.search(name):
        held, video, pai, subject, session, medium, scene = m.groups()
        return PadFacts(pai, f"{held}/{video}", subject, "webcam", session, f"{held}, {medium}, {scene}")
    if m := _REPLAY_REAL.search(name):
        video, subject, session, scene = m.groups()
        return PadFacts(LIVE, f"real/{video}", subject, "webcam", session, scene)
    return None


PARSERS: tuple[Callable[[str], PadFacts | None], ...] = (
    surf_facts,
    cefa_facts,
    oulu_facts,
    fasd_facts,
    msu_facts,
    replay_facts,
    hifimask_facts,
    wmca_facts,
)


def facts_of(name: str) -> PadFacts | None:
    """What a path says by the naming scheme of a published set, or None."""
    return next((facts for parse in PARSERS if (facts := parse(name)) is not None), None)


def is_live_by_words(name: str) -> bool | None:
    """What real / live and fake / spoof / attack in a path say; the deepest part that has one decides."""
    for part in reversed(name.lower().split("/")):
        words = set(_WORDS.findall(part.replace("bona_fide", "bonafide")))
        is_live, is_attack = bool(words & _LIVE_WORDS), bool(words & _ATTACK_WORDS)
        if is_live != is_attack:
            return is_live
    return None


def is_live_by_name(name: str) -> bool | None:
    """Whether a path is of a bona fide presentation: by a known scheme, else by words; None: unknown."""
    facts = facts_of(name)
    return facts.is_live if facts is not None else is_live_by_words(name)
