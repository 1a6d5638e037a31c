"""``mien export igc_net``: two graphs, which together are the net without its renderer.

    encoder: image (B, 3, S, S) -> (B, 2 F + 11): f_s, f_a, the view (6), then ambient, diffuse, direction (5)
    decoder: f_s, f_a (B, F) -> (B, 5 + M + 5 M, S, S): depth and albedo (3) of the object, visibility of the
             background and of the M parts, then of each part depth, albedo (3) and presence logit

What lies between and behind is arithmetic: normals, light, warp and resampling of `mien.render.Renderer`.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.data.capsule_files import CapsuleSet
from mien.data.capsule_loader import capsule_batch
from mien.data.capsule_sets import capsule_set
from mien.engine.export import ExportPlan, Signature
from mien.methods.igc_net.capsules import GraphicsCapsule, Light, object_capsule
from mien.methods.igc_net.model import PRESENCE_GAIN, IGCNet
from mien.methods.igc_net.seen import light_numbers
from mien.methods.igc_net.task import configs

if TYPE_CHECKING:
    from mien.methods.igc_net.predict import Predictor

MOST = 64
"""Pictures that the graphs are compared on."""
VIEW, LIGHT = 6, 5


class EncoderGraph(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] -> embeddings, view and light, (B, 2 F + 11)."""

    signature = Signature(("image",), "codes")

    def __init__(self, net: IGCNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """One vector for each picture."""
        net, x = self.net, image * 2 - 1
        return torch.cat([*net.embeddings(x), net.view(x), light_numbers(net.light(x))], 1)


class DecoderGraph(nn.Module):
    """Embeddings (B, F) of shape and albedo -> canonical maps (B, 5 + M + 5 M, S, S)."""

    signature = Signature(("f_s", "f_a"), "maps")

    def __init__(self, net: IGCNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, f_s: Tensor, f_a: Tensor) -> Tensor:
        """The object, its layers and its parts."""
        net, size = self.net, self.net.renderer.image_size
        nothing = f_s.new_zeros(f_s.shape[0], 3, size, size)
        background = None
        if net.background_net is not None:  # its albedo is the picture's, which a decoder does not see
            logit = PRESENCE_GAIN * net.background_net(f_s)[:, 0]
            behind = torch.full_like(logit, net.renderer.max_depth)
            background = GraphicsCapsule(behind, nothing, logit, f_s, f_a)
        zero = f_s.new_zeros(f_s.shape[0])
        obj = object_capsule(
            net.renderer,
            net.part_capsules(f_s, f_a, background),
            f_s.new_zeros(f_s.shape[0], VIEW),
            Light(zero, zero, f_s.new_zeros(f_s.shape[0], 3)),
            float(net.tau),
            how=net.config.assembling,
            background=background,
        )
        maps = [obj.depth[:, None], obj.albedo, obj.visibility]
        for part in obj.parts:
            maps += [part.depth[:, None], part.albedo, part.presence[:, None]]
        return torch.cat(maps, 1)


def one_way_and_the_other(
    mirror: bool, net: nn.Module, x: Tensor, signs: tuple[int, ...] | None = None
) -> Tensor:
    """As `IGCNet.both_ways`, in two calls: halving one batch of both would bake its length into the graph."""
    own: Tensor = net(x)
    if not mirror:
        return own
    other: Tensor = net(x.flip(-1))
    return (own + (other if signs is None else other * other.new_tensor(signs))) / 2


def graphs_of(net: IGCNet) -> dict[str, nn.Module]:
    """Both graphs of a net, by name; copies on the CPU."""
    own = copy.deepcopy(net).cpu().eval().requires_grad_(False)
    tau = float(own.tau)
    del own.tau  # a number that is read from a tensor cannot be exported
    own.tau = tau  # type: ignore[assignment]
    own.both_ways = partial(one_way_and_the_other, own.config.mirror)  # type: ignore[method-assign]
    return {"encoder": EncoderGraph(own), "decoder": DecoderGraph(own)}


def inputs_of(net: IGCNet, faces: CapsuleSet) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """Inputs of `graphs_of`: pictures, and their embeddings."""
    image = capsule_batch(faces, np.arange(len(faces), dtype=np.int64)).image
    own = copy.deepcopy(net).cpu().eval()
    with torch.no_grad():
        return {"encoder": image, "decoder": own.embeddings(image * 2 - 1)}


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes, compared on test pictures; there is no task metric.

    Args:
        predictor: the model.
        count: pictures, at most; never more than `MOST`.
    """
    _, data = configs(predictor.folder.recipe)
    most = max(2, min(count, MOST))
    held, tested = (capsule_set(data, part).some(slice(0, most)) for part in ("train", "test"))  # type: ignore[arg-type]
    net = predictor.net
    return ExportPlan(
        graphs_of(net), inputs_of(net, tested), None, "none", inputs_of(net, held), data.kind == "orl"
    )
