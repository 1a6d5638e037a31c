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

from mien.core.errors import ShapeError
from mien.core.images import ImageInput
from mien.core.seeds import derive
from mien.methods.otavatar.driving import CameraChoice, Parts, Retarget, camera_path, drive
from mien.methods.otavatar.field import AvatarField
from mien.methods.otavatar.head_pose import Orbit, head_pose
from mien.methods.otavatar.inversion import InversionSettings, corrected, invert_codes
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.photos import Photos, expression_rows, photo_rays, read_photos
from mien.methods.otavatar.state import AvatarState, check_state, net_hash
from mien.methods.otavatar.tuning import TuningSettings, tuned_delta, with_delta
from mien.render.mesh_io import Mesh

Frame: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Callback = Callable[[int, float], bool | None]
"""Called with the step and its loss before each step of an inversion; True = stop."""
_DETAIL = 0.3  # share of the rays of tuning that seek contrast
_MOVING = 0.1  # share of the actions of a random expression that are not at rest


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
        self.device = net.w_avg.device
        self.actions = net.controller.coefficients - net.config.pose_rows
        if self.names and len(self.names) != self.actions:
            raise ShapeError(f"{len(self.names)} names of actions, the controller knows {self.actions}")

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
        pti_lr: float = 3e-4,
        pti_keep: float = 1.0,
        pti_own: float = 0.0,
        refine: Literal["off", "centre", "all"] = "off",
        rays: int = 256,
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
            mask: (H, W) in 0 .. 1 what of a picture is the person, or a list of F; default what is not white.
            steps: of Adam; in "w+" the second half of them has a code for each style slot.
            space: see there.
            pti_steps: of `tuned_delta` after it; each sees four times as many rays, some of them on contrast.
            pti_lr: see `TuningSettings`.
            pti_keep: see there; the motions are random expressions before the pictures' cameras.
            pti_own: rate of the person's own planes, see there.
            refine: what of the intrinsics is corrected as well (`InversionSettings.camera`).
            rays: of each picture in a step.
            seed: of the rays.
            callback: see `Callback`.

        Raises:
            DataError: a picture cannot be read, or coefficients that are no numbers.
            ShapeError: coefficients, cameras or masks that do not fit.
        """
        own = self.net.config
        photos = Photos(
            *(x.to(self.device) for x in read_photos(image, coeffs, camera, mask, self.size, self.actions))
        )
        with torch.no_grad():
            dw = self.net.controller(self._still(photos.rows, photos.cameras))[0]
            motion = dw[:, : self.net.generator.num_ws].mean(1, keepdim=True)
            start = (self.net.encode(2 * photos.pictures - 1) - motion).mean(0, keepdim=True)
        sampler = photo_rays(photos, rays, own.face, derive(seed, "photos"))
        wide = steps // 2 if space == "w+" else 0
        for kind, number, done in (("w", steps - wide, 0), ("w+", wide, steps - wide))[: 1 + bool(wide)]:
            settings = InversionSettings(number, space=kind, camera=refine)  # type: ignore[arg-type]
            found = invert_codes(self.net, sampler, dw, start, settings, seed=derive(seed, kind),
                                 callback=None if callback is None else _told(callback, done))  # fmt: skip
            start = found.w_id
        state = AvatarState(
            w_id=found.w_id.cpu(), camera=photos.cameras[0].cpu(), scale=found.scale[0].cpu(),
            shift=found.shift[0].cpu(), row=photos.rows[0].cpu(), generator=self.sha, size=self.size,
            names=self.names,
        )  # fmt: skip
        if pti_steps:
            count = len(photos.rows)
            s, t = (x.expand(count, -1) for x in (found.scale, found.shift))
            seen = photos._replace(cameras=corrected(photos.cameras, s, t, "all"))
            most = min(4 * rays, self.size**2)
            face = own.face * (1 - _DETAIL)
            sampler = photo_rays(seen, most, face, derive(seed, "tuning"), _DETAIL)
            delta = tuned_delta(
                self.net, sampler, found.w_id, dw, TuningSettings(pti_steps, pti_lr, pti_keep, pti_own),
                motions=self._motions(photos.cameras[0], derive(seed, "motions")), seed=derive(seed, "pti"),
            )  # fmt: skip
            state = replace(state, delta={k: v.cpu() for k, v in delta.items()})
        return state

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

    def turntable(
        self, state: AvatarState, orbit: Orbit | None = None, size: int | None = None
    ) -> Iterator[Frame]:
        """One turn of the camera around the still person; the field is made once. O(view) a frame."""
        field = self.field(state)
        for camera in torch.from_numpy((orbit or Orbit()).cameras()):
            yield field.picture(camera, size or self.size)

    def mesh(self, state: AvatarState, resolution: int = 96, expression: Any = None) -> Mesh:
        """The surface with colours (`AvatarField.mesh`); `mien.render.mesh_io.save_mesh` writes it."""
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
        rows = expression_rows(state.row if expression is None else expression, 1, self.actions)
        own = with_delta(self.net.generator, state.to(self.device).delta)
        return self._field(own, state, self._still(rows.to(self.device), state.seen_from[None]), None)

    def _still(self, rows: Tensor, cameras: Tensor) -> Tensor:
        """Windows (F, C + R, L) of expressions (F, C) that are held, before cameras (F or 1, 25)."""
        pose = torch.stack([self._pose(c) for c in cameras]).expand(len(rows), -1)
        whole = torch.cat([rows, pose], 1)
        return whole[:, :, None].expand(-1, -1, 2 * self.net.controller.radius + 1)

    def _motions(self, camera: Tensor, seed: int, count: int = 32) -> Tensor:
        """Motion (count, slots, W) of random held expressions: a few actions at once, each at 0 .. 1."""
        rng = np.random.default_rng(seed)
        rows = rng.random((count, self.actions)) * (rng.random((count, self.actions)) < _MOVING)
        windows = self._still(torch.from_numpy(rows.astype(np.float32)).to(self.device), camera[None])
        with torch.no_grad():
            dw: Tensor = self.net.controller(windows)[0]
        return dw

    def _field(self, generator: Any, state: AvatarState, window: Tensor, pose: Tensor | None) -> AvatarField:
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
                f"the track has {even.expression.shape[1]} actions, this avatar knows {self.actions};"
                " track the clip with the same face model"
            )
        return even

    def _pose(self, camera: Tensor) -> Tensor:
        """(R,) the pose rows of a camera (25,)."""
        pose = head_pose(camera.detach().cpu().numpy()[None])
        rows = np.concatenate([pose.angles[0], pose.translation[0]])[: self.net.config.pose_rows]
        return torch.from_numpy(rows.astype(np.float32)).to(self.device)


def _told(callback: Callback, offset: int) -> Callable[[int, Tensor], bool]:
    return lambda step, losses: bool(callback(offset + step, float(losses[0])))
