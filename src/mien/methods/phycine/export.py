"""``mien export phycine``: three graphs, which hold all that is learnt of pictures and of laws.

    perception: image (B, 3, H, W) in [0, 1] -> slots (B, K, 2 + D): place x right and y down, the picture's
        upper and lower edge at -1 and 1, and code;
    decoder: slots (B, K, 2 + D) -> layers (B, K, 4, H, W): colour in [0, 1] and share of the pixel, sum 1
        over K; the picture is the sum of colours times shares;
    step: place (B, K, 2), velocity (B, K, 2), z_m (B, K), z_c (B, K), present (B, K) 1 or 0 -> place and
        velocity a frame later (B, K, 4).

Lengths of the step in world units, x right and y up, seconds. What lies between is arithmetic and small
optimisations: linking slots over time, and the search for z_m and z_c that explain the paths.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.engine.export import ExportPlan, Signature
from mien.methods.phycine.decoder import PlaceDecoder
from mien.methods.phycine.laws import rollout
from mien.methods.phycine.model import Dynamics, Phycine
from mien.methods.phycine.slots import SlotVideo
from mien.synth.comphy_set import VIEW, draw_set
from mien.synth.phys_render import render_clip

if TYPE_CHECKING:
    from mien.methods.phycine.predict import Predictor

MOST = 64
"""Frames that the graphs are compared on."""
CALIBRATION = 32
"""Frames of other clips that int8 graphs are calibrated on."""


class PerceptionGraph(nn.Module):
    """Images (B, 3, H, W) -> slots (B, K, 2 + D), from the learned start alone.

    Args:
        slots: the perception.
    """

    signature = Signature(("image",), "slots")

    def __init__(self, slots: SlotVideo) -> None:
        super().__init__()
        self.slots = copy.deepcopy(slots)
        self.slots.starts = 1

    def forward(self, image: Tensor) -> Tensor:
        """As `SlotVideo.alone`."""
        return self.slots.alone(image)


class DecoderGraph(nn.Module):
    """Slots (B, K, 2 + D) -> colours and shares (B, K, 4, H, W).

    Args:
        decoder: of the perception.
    """

    signature = Signature(("slots",), "layers")

    def __init__(self, decoder: PlaceDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, slots: Tensor) -> Tensor:
        """As `PlaceDecoder`."""
        layers = self.decoder(slots)
        return torch.cat([layers.means, layers.masks], 2)


class StepGraph(nn.Module):
    """Places, velocities and latents -> places and velocities (B, K, 4) a frame later.

    Args:
        laws: trained.
        dt: seconds of a frame.
    """

    signature = Signature(("place", "velocity", "z_m", "z_c", "present"), "next")

    def __init__(self, laws: Dynamics, dt: float) -> None:
        super().__init__()
        self.laws, self.dt = laws, dt

    def forward(self, place: Tensor, velocity: Tensor, z_m: Tensor, z_c: Tensor, present: Tensor) -> Tensor:
        """As a `rollout` of one step."""
        path, speed = rollout(self.laws, place, velocity, z_m, z_c, 1, self.dt, present > 0.5)
        return torch.cat([path[:, 1], speed[:, 1]], -1)


def graphs_of(net: Phycine) -> dict[str, nn.Module]:
    """The graphs of a net, by name; copies on the CPU.

    Raises:
        ConfigError: a perception that is no net of its input alone.
    """
    own = copy.deepcopy(net).cpu().eval().requires_grad_(False)
    if not isinstance(own.perception, SlotVideo):
        raise ConfigError(
            f"sight={own.config.sight!r} has no graph of its own; export one with sight='slots'"
        )
    return {
        "perception": PerceptionGraph(own.perception),
        "decoder": DecoderGraph(own.perception.decoder),
        "step": StepGraph(own.laws, own.dt),
    }


@torch.no_grad()
def inputs_of(net: Phycine, count: int, seed: int) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """Inputs of `graphs_of`: frames of made clips, one of each, their slots, and what is true in them.

    Each object's z_m and z_c are the logarithm of its mass and its charge; slots without one are absent.
    """
    slots, pictures = net.config.slots, []
    place, velocity = torch.zeros(2, count, slots, 2)
    z_m, z_c, present = torch.zeros(3, count, slots)
    for k in range(count):
        clip = draw_set(derive(seed, k)).target
        rng = np.random.default_rng(derive(seed, k, "frame"))
        t, own = int(rng.integers(clip.x.shape[1])), min(clip.x.shape[2], slots)
        pictures.append(render_clip(clip, net.size, VIEW).frames[0, t])
        place[k, :own], velocity[k, :own] = (torch.from_numpy(x[0, t, :own]) for x in (clip.x, clip.v))
        z_m[k, :own], z_c[k, :own] = (
            torch.from_numpy(clip.m[0, :own]).log(),
            torch.from_numpy(clip.q[0, :own]),
        )
        present[k, :own] = 1.0
    image = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    found = PerceptionGraph(net.slots).to(image.device)(image)
    return {"perception": image, "decoder": found, "step": (place, velocity, z_m, z_c, present)}


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes, compared on made clips; there is no task metric.

    Args:
        predictor: the model; its ``net`` is looked at.
        count: frames, at most; never more than `MOST`.

    Raises:
        ConfigError: a perception that cannot be exported.
    """
    net = copy.deepcopy(predictor.net).cpu()
    graphs = graphs_of(net)
    given = inputs_of(net, max(2, min(count, MOST)), derive(0, "export", "inputs"))
    return ExportPlan(
        graphs,
        given,
        None,
        "none",
        inputs_of(net, CALIBRATION, derive(0, "export", "calibration")),
        real=False,
    )
