"""From a recipe to what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.core.config import Recipe
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.config import TalkingData
from mien.data.talking import TalkingHeads
from mien.data.talking_loader import TalkingLoader, is_resident
from mien.data.talking_sets import identity_numbers, is_drawn, read_talking
from mien.engine.checkpoint import load_weights
from mien.engine.folder import open_folder
from mien.engine.predictor import default_device
from mien.engine.task import Experiment
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.convert import load_generator
from mien.methods.otavatar.dbi import MotionTask, SaidMotion
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.prior import PriorTask
from mien.methods.otavatar.sr import EnlargeTask


def configs(recipe: Recipe) -> tuple[OtavatarConfig, TalkingData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, OtavatarConfig) or not isinstance(recipe.data, TalkingData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of otavatar's")
    return recipe.method, recipe.data


def at_hand(recipe: Recipe) -> bool:
    """Whether the recipe's pictures are there, or would first be drawn."""
    return is_drawn(configs(recipe)[1])


def build(recipe: Recipe, uses: Mapping[str, Path]) -> Experiment:
    """The experiment of a recipe.

    A controller is trained on the net in slot ``prior``, super-resolution on that in slot ``avatar``.

    Raises:
        ConfigError: no such net where one is needed, or one of other sizes.
    """
    method, data = configs(recipe)
    splits = read_talking(data)
    heads, schedule = splits.train, recipe.schedule
    people, moments = heads.moments.shape
    torch.manual_seed(derive(recipe.seed, "init"))
    net = AvatarNet(method, data.size, len(heads.names))
    actions = heads.names[: len(heads.names) - method.pose_rows]
    told = {"fingerprint": splits.fingerprint, "note": note(data, people), "real": data.kind == "hdtf"}
    facts = partial(model_facts, actions, told)
    in_pairs = method.stage == "controller"

    source = TalkingLoader(
        heads, schedule.batch, recipe.seed, method.radius, in_pairs, data.workers, is_resident(heads)
    )
    if method.stage == "prior":
        numbers = identity_numbers(data, heads) if method.latent == "mixed" else None
        known = None if numbers is None else torch.from_numpy(numbers)
        prior = PriorTask(net, method, recipe.optim.lr, people, moments, known)
        rows = heads.windows(method.radius)[..., method.radius]
        prior.place(torch.from_numpy(rows), torch.from_numpy(heads.points))
        return Experiment(prior, source, splits.fingerprint, facts=facts)
    if method.stage == "sr":
        load_avatar(net, uses)
        sharper = EnlargeTask(net, method, recipe.optim, bank_start(net, heads, still=True), data.size)
        return Experiment(sharper, source, splits.fingerprint, facts=facts)
    load_prior(net, uses)
    bank = bank_start(net, heads, each=method.mode == "naive") if method.bank else None
    said = said_motion(net, heads) if method.follow or method.follow_first else None
    if said is not None and method.follow_first:
        said.teach(net, method.follow_first, derive(recipe.seed, "follow"))
    motion = MotionTask(net, method, recipe.optim, bank, moments, said)
    return Experiment(motion, source, splits.fingerprint, facts=facts)


def note(data: TalkingData, people: int) -> str:
    """What a model has seen, in words."""
    if data.kind == "hdtf":
        return f"{people:,} clips of real people (HDTF layout)"
    heads = "star-shaped heads" if data.kind == "stars" else "rendered people"
    return f"{people:,} {heads}, {data.moments} moments of each from {data.views} sides, {data.size} px"


def model_facts(actions: tuple[str, ...], data: dict[str, Any], *_: object) -> dict[str, Any]:
    """What a model needs beside its weights: the actions that its controller knows, without the pose."""
    return {"actions": list(actions), "data": data}


def load_prior(net: AvatarNet, uses: Mapping[str, Path]) -> None:
    """Generator, encoder and statistics of the prior; the controller stays as it starts.

    Args:
        net: that is filled.
        uses: slot ``prior``: folder of a trained one, or file of a released one (`convert_eg3d`).

    Raises:
        ConfigError: no prior is given, or it is of other sizes.
    """
    if "prior" not in uses:
        raise ConfigError(
            "a controller needs a trained generator; train the chain, or give --from prior=FOLDER (or the"
            " FILE of mien convert eg3d)"
        )
    if uses["prior"].is_file():
        load_released(net, uses["prior"])
        return
    _load_earlier(net, uses["prior"], (*_PRIOR, *_ENLARGE), "controller.")


def load_avatar(net: AvatarNet, uses: Mapping[str, Path]) -> None:
    """All of a trained avatar but its super-resolution, which stays as it starts.

    Args:
        net: that is filled.
        uses: slot ``avatar``: folder of one with a controller.

    Raises:
        ConfigError: none is given, it is a file, or it is of other sizes.
    """
    if "avatar" not in uses or uses["avatar"].is_file():
        raise ConfigError(
            "super-resolution needs the run folder of a controller; train the chain, or give --from"
            " STAGE=FOLDER"
        )
    _load_earlier(net, uses["avatar"], (*_PRIOR, *_CONTROLLER), "generator.super_resolution.")


_PRIOR = (
    "z_dim", "w_dim", "plane_size", "plane_channels", "channel_base", "channel_max", "decoder_width",
    "features", "latent", "conditioned", "axes", "warped", "aggregate", "background", "density_scale",
)  # fmt: skip
_ENLARGE = ("sr_side", "sr_channels")
_CONTROLLER = ("radius", "width", "directions", "code_book", "pose_rows")


def _load_earlier(net: AvatarNet, path: Path, same: tuple[str, ...], own: str) -> None:
    """The weights of an earlier stage but for those whose names begin with ``own``.

    Raises:
        ConfigError: a size in ``same`` differs.
    """
    folder = open_folder(path)
    method, data = configs(folder.recipe)
    for name in same:
        mine, theirs = getattr(net.config, name), getattr(method, name)
        if mine != theirs:
            raise ConfigError(f"method.{name}={mine} does not fit the {method.stage}'s {theirs} ({path})")
    full = AvatarNet(method, data.size, net.controller.coefficients)
    load_weights(full, folder.weights)
    given = {k: v for k, v in full.state_dict().items() if not k.startswith(own)}
    net.load_state_dict({**net.state_dict(), **given})


def load_released(net: AvatarNet, path: Path) -> None:
    """A released generator and the mean of its codes; their deviation counts as 1, as in that training.

    Raises:
        ConfigError: the net has other sizes, or an encoder, which no released generator has.
    """
    found = load_generator(path)
    own, theirs = ({k: v.shape for k, v in g.state_dict().items()} for g in (net.generator, found))
    odd = ["the encoder"] if net.encoder is not None else []
    odd += [k for k in {**own, **theirs} if own.get(k) != theirs.get(k)]
    if odd:
        raise ConfigError(f"{path}: the net has another size of {odd[0]}; start from --preset paper")
    net.generator.load_state_dict(found.state_dict())
    net.w_avg.copy_(found.mapping.w_avg)


def said_motion(net: AvatarNet, heads: TalkingHeads) -> SaidMotion:
    """What the encoder reads of all moments, beside their windows.

    Raises:
        ConfigError: there is no encoder.
    """
    if net.encoder is None:
        raise ConfigError("method.follow: there is no encoder to follow (method.latent='free'); set it to 0")
    codes = bank_start(net, heads, each=True).view(*heads.moments.shape, -1)
    return SaidMotion(codes, torch.from_numpy(heads.windows(net.config.radius)))


@torch.no_grad()
def bank_start(net: AvatarNet, heads: TalkingHeads, *, each: bool = False, still: bool = False) -> Tensor:
    """What the encoder reads off the front view of each moment: (P M, W), or its mean over moments (P, W).

    Args:
        net: with a trained encoder; works on the default device meanwhile.
        heads: the pictures.
        each: no mean.
        still: without what the controller says of the moment's motion.
    """
    found, moments = [], np.arange(heads.moments.shape[1])
    windows = torch.from_numpy(heads.windows(net.config.radius)) if still else None
    device, before = default_device(), net.w_avg.device
    net.to(device)
    for person in range(len(heads.images)):
        front = heads.images[np.full_like(moments, person), moments, np.zeros_like(moments)]
        seen = torch.from_numpy(front[..., :3]).to(device).movedim(-1, 1).float() / 127.5 - 1
        w = net.encode(seen)[:, 0]
        if windows is not None:
            w = w - net.controller(windows[person].to(device))[0][:, : net.generator.num_ws].mean(1)
        found.append(w if each else w.mean(0, keepdim=True))
    net.to(before)
    return torch.cat(found).to(before)
