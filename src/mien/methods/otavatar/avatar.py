"""One portrait -> an avatar: invert it once, then let it move as somebody else does, seen from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.core.images import ImageInput
from mien.core.seeds import derive
from mien.methods.otavatar.driving import CameraChoice, Parts, Retarget, camera_path, drive
from mien.methods.otavatar.field import AvatarField
from mien.methods.otavatar.head_pose import Orbit, head_pose
from mien.methods.otavatar.inversion import InversionSettings, corrected, invert_codes
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.portrait import on_white, portraits
from mien.methods.otavatar.rays import TargetRays, pick_rays
from mien.methods.otavatar.state import AvatarState, check_state, net_hash
from mien.methods.otavatar.tuning import TuningSettings, tuned_delta, with_delta
from mien.render.mesh_io import Mesh

Frame: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Callback = Callable[[int, float], bool | None]
"""Called with the step and its loss before each step of an inversion; True = stop."""


class OneShotAvatar:
    """Makes avatars of portraits with one trained net, and moves them.

    Args:
        net: trained; put in eval mode.
        size: side of the pictures it was trained on, pixels.
        names: of the actions its controller knows; () = coefficients without names.

    Raises:
        ShapeError: names that do not fit the controller.

    >>> avatar = OneShotAvatar(net, 64, names)                                      # doctest: +SKIP
    >>> me = avatar.invert("me.png")                                                # doctest: +SKIP
    >>> frames = avatar.animate(me, MotionTrack.from_talk(0, 100))                  # doctest: +SKIP
    """

    def __init__(self, net: AvatarNet, size: int, names: Sequence[str] = ()) -> None:
        self.net, self.size, self.names = net.eval(), size, tuple(names)
        self.actions = net.controller.coefficients - net.config.pose_rows
        if self.names and len(self.names) != self.actions:
            raise ShapeError(f"{len(self.names)} names of actions, the controller knows {self.actions}")

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return self.net.w_avg.device

    @cached_property
    def sha(self) -> str:
        """`net_hash` of the net."""
        return net_hash(self.net)

    def invert(
        self,
        image: ImageInput | Sequence[ImageInput],
        coeffs: Any = None,
        camera: Any = None,
        mask: Any = None,
        *,
        steps: int = 100,
        space: Literal["w", "w+"] = "w",
        pti_steps: int = 0,
        refine: Literal["off", "centre", "all"] = "off",
        rays: int = 512,
        seed: int = 0,
        callback: Callback | None = None,
    ) -> AvatarState:
        """The identity code of a person, with the controller in the loop. O(steps F (planes + rays samples)).

        The motion of each picture is known to the controller, so what it explains stays out of the code. It
        starts at the mean over pictures of encoder(picture) - dw. Several pictures of one person share one
        code, as two frames do in training.

        Args:
            image: square crop of head and shoulders (`mien.methods.otavatar.portrait`) on white, or a list of
                F crops of one person.
            coeffs: (C,) or (F, C) expression of the pictures; default at rest.
            camera: (25,) or (F, 25); default in front.
            mask: (H, W) in 0 .. 1 what of a picture is the person, or a list of F; default: what is not white.
            steps: of Adam; in "w+" the second half of them has a code for each style slot.
            space: see there.
            pti_steps: of `tuned_delta` after it, at most 50.
            refine: what of the intrinsics is corrected as well (`InversionSettings.camera`).
            rays: of each picture in a step.
            seed: of the rays.
            callback: see `Callback`.

        Raises:
            DataError: a picture cannot be read, or coefficients that are no numbers.
            ShapeError: coefficients, cameras or masks that do not fit.
        """
        pictures = portraits(image, self.size).to(self.device)
        count = len(pictures)
        opacity = self._opacity(mask, pictures)
        shown = on_white(pictures, opacity) if mask is not None else pictures
        rows = self._rows(coeffs, count)
        cameras = self._cameras(camera, count)
        windows = rows[:, :, None].expand(-1, -1, 2 * self.net.controller.radius + 1)
        with torch.no_grad():
            pose = [self._pose(c) for c in cameras]
            dw = self.net.controller(torch.cat([windows, _held(pose, windows)], 1))[0]
            slots = dw[:, : self.net.generator.num_ws]
            start = (self.net.encode(2 * shown - 1) - slots.mean(1, keepdim=True)).mean(0, keepdim=True)
        sampler = _photo_rays(shown, opacity, cameras, rays, self.net.config.face, derive(seed, "photo"))
        first = steps if space == "w" else steps // 2
        parts = [("w", first, 0)] + ([("w+", steps - first, first)] if space == "w+" else [])
        found = None
        for kind, number, offset in parts:
            settings = InversionSettings(number, space=kind, camera=refine)  # type: ignore[arg-type]
            found = invert_codes(
                self.net, sampler, dw, start, settings, seed=derive(seed, "inversion", kind),
                callback=None if callback is None else _told(callback, offset),
            )  # fmt: skip
            start = found.w_id
        if found is None or not bool(found.w_id.isfinite().all()):
            raise DataError("the inversion found no code; give another picture or fewer steps")
        scale, shift = found.scale, found.shift
        delta = {}
        if pti_steps:
            seen = corrected(cameras, scale.expand(count, -1), shift.expand(count, -1), "all")
            sampler = _photo_rays(shown, opacity, seen, rays, self.net.config.face, derive(seed, "tuning"))
            delta = tuned_delta(
                self.net, sampler, found.w_id, dw, TuningSettings(pti_steps), seed=derive(seed, "pti")
            )
        held = (found.w_id, cameras[0], scale[0], shift[0], rows[0])
        return AvatarState(*(x.detach().cpu() for x in held), self.sha, self.size, self.names,
                           {k: v.cpu() for k, v in delta.items()})  # fmt: skip

    def animate(
        self,
        state: AvatarState,
        driving: MotionTrack,
        *,
        camera: CameraChoice = "driving",
        retarget: Retarget = "absolute",
        parts: Parts = "all",
        size: int | None = None,
    ) -> Iterator[Frame]:
        """Frames (size, size, 3), one by one: the memory does not grow with the clip. O(planes + view) each.

        Where the camera is not the driving one, pose rows of the windows (if the net has any) stay at the
        source's: turn the camera, not the coefficients.

        Args:
            state: of `invert`.
            driving: the motion; uneven steps are made even.
            camera: "driving": the driver's head pose; "source": as the portrait; or an orbit.
            retarget: "absolute", or "relative": the source's expression and pose plus what changes.
            parts: of the face that is driven; the rest stays as in the portrait.
            size: pixels a side; default the training size.

        Raises:
            WeightsError: a state of another net.
            DataError, ShapeError: a track whose actions the net does not know.
        """
        self._check(state)
        source = state.seen_from.numpy()
        track = drive(self._matched(driving), state.row.numpy(), source, retarget, parts)
        cameras = torch.from_numpy(camera_path(camera, track, source))
        pose = None if camera == "driving" else self._pose(state.seen_from)[None]
        return self._frames(state, track, cameras, pose, size or self.size)

    def view(
        self, state: AvatarState, camera: Any = None, expression: Any = None, size: int | None = None
    ) -> Frame:
        """The person from one camera (25,), by default the portrait's, with an expression (C,) or its own."""
        at = state.seen_from if camera is None else torch.as_tensor(camera, dtype=torch.float32)
        return self.field(state, expression).picture(at, size or self.size)

    def turntable(self, state: AvatarState, orbit: Orbit | None = None, size: int | None = None) -> Iterator[Frame]:
        """One turn of the camera around the still person; the field is made once. O(view) a frame."""
        field = self.field(state)
        for camera in torch.from_numpy((orbit or Orbit()).cameras()):
            yield field.picture(camera, size or self.size)

    def mesh(self, state: AvatarState, resolution: int = 96, expression: Any = None) -> Mesh:
        """The surface with colours (`AvatarField.mesh`); write it with ``save_mesh(path, *mesh[:2], colors=mesh.colors)``."""
        return self.field(state, expression).mesh(resolution)

    def sliders(self, state: AvatarState, alpha: Any) -> AvatarState:
        """The person moved along the code book's directions: w_id + Q alpha.

        Args:
            state: of `invert`.
            alpha: (K,), one number for each direction; |Q alpha| = |alpha|.

        Raises:
            ShapeError: another number of directions.
        """
        self._check(state)
        book = self.net.controller.code_book
        along = torch.as_tensor(alpha, dtype=torch.float32, device=self.device)
        if along.shape != (book.directions.shape[1],):
            raise ShapeError(f"expected {book.directions.shape[1]} sliders, got {tuple(along.shape)}")
        with torch.no_grad():
            return replace(state, w_id=state.w_id + book(along).cpu())

    def field(self, state: AvatarState, expression: Any = None) -> AvatarField:
        """The field of a person with an expression (C,), by default the portrait's."""
        self._check(state)
        rows = self._rows(state.row if expression is None else expression, 1)
        window = rows[:, :, None].expand(-1, -1, 2 * self.net.controller.radius + 1)
        held = _held([self._pose(state.seen_from)], window)
        own = with_delta(self.net.generator, state.to(self.device).delta)
        return self._field(own, state, torch.cat([window, held], 1), None)

    def _field(
        self, generator: Any, state: AvatarState, window: Tensor, pose: Tensor | None
    ) -> AvatarField:
        """Planes of a window (1, C + R, L), by the person's own generator."""
        with torch.no_grad():
            dw = self.net.controller(window, pose)[0]
            ws = self.net.moved(state.w_id.to(self.device), dw)
        return AvatarField(generator, ws, self.net.config.settings())

    def _frames(
        self, state: AvatarState, track: MotionTrack, cameras: Tensor, pose: Tensor | None, size: int
    ) -> Iterator[Frame]:
        own = with_delta(self.net.generator, state.to(self.device).delta)
        rows, radius = self.net.config.pose_rows, self.net.controller.radius
        for t, camera in enumerate(cameras):
            window = torch.from_numpy(track.window(t, radius, rows))[None].to(self.device)
            yield self._field(own, state, window, pose).picture(camera, size)

    def _check(self, state: AvatarState) -> None:
        check_state(state, self.net, self.sha)

    def _matched(self, track: MotionTrack) -> MotionTrack:
        """Even steps, and the actions in the net's order.

        Raises:
            ShapeError: another number of actions.
        """
        even = track if track.times is None else track.resampled()
        if even.names and self.names:
            return even.named(self.names)
        if even.expression.shape[1] != self.actions:
            raise ShapeError(
                f"the track has {even.expression.shape[1]} actions, this avatar knows {self.actions}; track the"
                " clip with the same face model"
            )
        return even

    def _pose(self, camera: Tensor) -> Tensor:
        """(R,) the pose rows of a camera (25,)."""
        pose = head_pose(camera.detach().cpu().numpy()[None])
        rows = np.concatenate([pose.angles[0], pose.translation[0]])[: self.net.config.pose_rows]
        return torch.from_numpy(rows.astype(np.float32)).to(self.device)

    def _rows(self, coeffs: Any, count: int) -> Tensor:
        """(F, C) expression of F pictures."""
        if coeffs is None:
            return torch.zeros(count, self.actions, device=self.device)
        rows = torch.atleast_2d(torch.as_tensor(coeffs, dtype=torch.float32, device=self.device))
        if rows.shape != (count, self.actions):
            raise ShapeError(f"expected coefficients ({count}, {self.actions}), got {tuple(rows.shape)}")
        if not bool(rows.isfinite().all()):
            raise DataError("the coefficients of the picture hold values that are no numbers; track it again")
        return rows

    def _cameras(self, camera: Any, count: int) -> Tensor:
        """(F, 25) cameras of F pictures."""
        given = Orbit().cameras(1) if camera is None else camera
        own = torch.atleast_2d(torch.as_tensor(given, dtype=torch.float32, device=self.device))
        if own.shape not in ((1, 25), (count, 25)) or not bool(own.isfinite().all()):
            raise ShapeError(f"expected cameras ({count}, 25) of numbers, got {tuple(own.shape)}")
        return own.expand(count, 25)

    def _opacity(self, mask: Any, pictures: Tensor) -> Tensor:
        """(F, 1, S, S) what of the pictures is the person."""
        if mask is None:
            return (pictures.amin(1, keepdim=True) < 0.98).float()
        given = list(mask) if isinstance(mask, (list, tuple)) else [mask]
        if len(given) != len(pictures):
            raise ShapeError(f"{len(pictures)} pictures but {len(given)} masks")
        as_float = [torch.as_tensor(m, dtype=torch.float32) for m in given]
        if any(m.ndim != 2 or m.min() < 0 or m.max() > 1 for m in as_float):
            raise ShapeError("a mask is (H, W) of numbers in 0 .. 1")
        return portraits([m.expand(3, -1, -1) for m in as_float], self.size)[:, :1].to(self.device)


def _held(pose: Sequence[Tensor], windows: Tensor) -> Tensor:
    """Pose rows (F, R, L) that do not change over a window."""
    return torch.stack(list(pose))[:, :, None].expand(-1, -1, windows.shape[2])


def _told(callback: Callback, offset: int) -> Callable[[int, Tensor], bool]:
    return lambda step, losses: bool(callback(offset + step, float(losses[0])))


def _photo_rays(
    pictures: Tensor, opacity: Tensor, cameras: Tensor, count: int, face: float, seed: int
) -> Callable[[int], TargetRays]:
    """Step -> random pixels of F photographs (F, 3, S, S) in [0, 1], one view each; the depth is not known."""
    if count < 1:
        raise ConfigError(f"rays={count} must be at least 1")
    images = torch.cat([pictures, opacity], 1)[:, None]
    depth = images.new_full((len(images), 1, *images.shape[-2:]), float("nan"))
    points = images.new_zeros(len(images), 68, 3)

    def sample(step: int) -> TargetRays:
        random = torch.Generator().manual_seed(derive(seed, "rays", step))
        return pick_rays(images, depth, cameras[:, None], points, count, face=face, local=0.0, generator=random)

    return sample
