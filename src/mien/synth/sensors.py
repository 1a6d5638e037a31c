"""What cameras for colour, depth and near infrared see: the physics that tells a face from its picture.

Depth: structured light with noise growing with distance, holes, flying pixels, millimetre steps. Near
infrared: light at the camera, reflectance by material (850 - 940 nm; ranges to draw from, not measurements).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from mien.core.errors import ConfigError
from mien.core.seeds import derive

Array = NDArray[Any]  # of floats

REFLECTANCE: dict[str, tuple[float, float]] = {
    "skin": (0.45, 0.65),
    "hair": (0.15, 0.45),
    "cloth": (0.50, 0.90),
    "wall": (0.30, 0.80),
    "eye": (0.25, 0.45),
    "paper": (0.75, 0.92),
    "screen": (0.02, 0.08),
    "plaster": (0.80, 0.90),
    "resin": (0.40, 0.85),
    "silicone": (0.50, 0.80),
    "latex": (0.60, 0.85),
}
"""Diffuse reflectance at 850 - 940 nm, nearly the same for every complexion and dye."""


@dataclass(frozen=True)
class Scene:
    """What stands before the camera, (S, S) maps.

    Attributes:
        rgb: (S, S, 3) in [0, 1], sRGB.
        depth: metres along the optical axis; inf where nothing reflects.
        rho: diffuse reflectance in near infrared.
        gloss: strength of the mirror image of the camera's own light.
        scatter: how far light spreads inside the surface, metres (skin 1 - 3 mm).
        face: where the presented face is.
        focal: pixels.
        species: "live" or the kind of instrument.
    """

    rgb: Array
    depth: Array
    rho: Array
    gloss: Array
    scatter: Array
    face: NDArray[np.bool_]
    focal: float
    species: str


@dataclass(frozen=True)
class Capture:
    """What the sensors deliver.

    Attributes:
        rgb: uint8 (S, S, 3).
        depth: float32 metres, 0 where there is no return.
        ir: float32 in [0, 1], linear.
    """

    rgb: NDArray[np.uint8]
    depth: Array
    ir: Array

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """By modality, as made sets keep them: colour, `depth_picture`, infrared with a gamma of 2.2."""
        ir = (np.clip(self.ir, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
        return {"rgb": self.rgb, "depth": depth_picture(self.depth), "ir": ir}


def surface_normals(depth: Array, focal: float) -> Array:
    """Unit normals (S, S, 3) of a depth map in the camera frame (x right, y up, z to the camera). O(S^2)."""
    s = depth.shape[0]
    v, u = np.mgrid[0:s, 0 : depth.shape[1]]
    z = np.where(np.isfinite(depth), depth, 10.0)
    p = np.stack([(u + 0.5 - depth.shape[1] / 2) / focal * z, -(v + 0.5 - s / 2) / focal * z, -z], -1)
    du, dv = np.gradient(p, axis=1), np.gradient(p, axis=0)
    n = np.cross(dv, du)
    n = n / (np.linalg.norm(n, axis=-1, keepdims=True) + 1e-12)
    return np.where(n[..., 2:] < 0, -n, n)


def facing(depth: Array, focal: float) -> Array:
    """Cosine between the surface and the ray to the camera (S, S)."""
    s = depth.shape[0]
    v, u = np.mgrid[0:s, 0 : depth.shape[1]]
    ray = np.stack([-(u + 0.5 - depth.shape[1] / 2) / focal, (v + 0.5 - s / 2) / focal, np.ones_like(u)], -1)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    return np.clip((surface_normals(depth, focal) * ray).sum(-1), 0, 1)


@dataclass(frozen=True)
class Sensor:
    """A device with a colour, a depth and an infrared camera.

    Attributes:
        blur: of the colour picture, pixels.
        noise: read noise of the colour picture, 0 .. 1.
        shot: photons at full scale.
        balance: gain of red and blue.
        jpeg: quality; 0: none.
        exposure: log spread of the exposure of each picture.
        contrast: log spread of the contrast that the camera chooses.
        tint: log spread of red and blue that its white balance leaves.
        depth_noise: sigma_z = a + b (z - 0.4 m)^2, metres.
        depth_step: quantisation, metres.
        fading: least infrared return that gives a depth.
        steepest: largest angle of view that gives a depth, radians.
        flying: share of the pixels on depth edges that fly between both sides; the others are holes.
        ir_gain: of the infrared camera.
        ir_ambient: infrared daylight, 0 .. 1.
        ir_noise: read noise.
        distance: z0 of the fall-off (z / z0)^2, metres.
    """

    blur: float = 0.5
    noise: float = 0.012
    shot: float = 800.0
    balance: tuple[float, float] = (1.0, 1.0)
    jpeg: int = 92
    exposure: float = 0.33
    contrast: float = 0.28
    tint: float = 0.09
    depth_noise: tuple[float, float] = (0.0012, 0.0019)
    depth_step: float = 0.001
    fading: float = 0.02
    steepest: float = 1.309
    flying: float = 0.5
    ir_gain: float = 0.9
    ir_ambient: float = 0.03
    ir_noise: float = 0.01
    distance: float = 0.6

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value that no device has.
        """
        if not 0 <= self.jpeg <= 100 or self.depth_step <= 0 or self.shot <= 0 or self.distance <= 0:
            raise ConfigError(
                f"sensor: jpeg={self.jpeg} must be 0 .. 100, depth_step={self.depth_step}, shot={self.shot},"
                f" distance={self.distance} positive"
            )

    @classmethod
    def device(cls, number: int) -> Sensor:
        """One of many devices: each fixes its own ranges, so that leaving one out means something."""
        rng = np.random.default_rng(derive(number, "device"))
        return cls(
            blur=float(rng.uniform(0.3, 0.9)),
            noise=float(rng.uniform(0.006, 0.02)),
            shot=float(rng.uniform(400, 2000)),
            balance=(float(rng.uniform(0.9, 1.12)), float(rng.uniform(0.88, 1.12))),
            jpeg=int(rng.integers(72, 97)),
            ir_gain=float(rng.uniform(0.75, 1.05)),
            ir_ambient=float(rng.uniform(0.0, 0.06)),
            ir_noise=float(rng.uniform(0.006, 0.016)),
        )

    def capture(self, scene: Scene, seed: int) -> Capture:
        """Colour, depth and infrared of one moment. O(S^2).

        Args:
            scene: what is seen.
            seed: of exposure and noise.
        """
        rng = np.random.default_rng(derive(seed, "capture"))
        return Capture(self._color(scene, rng), self._depth(scene, rng), self._infrared(scene, rng))

    def _color(self, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
        linear = np.clip(scene.rgb, 0, 1) ** 2.2
        gain = float(np.exp(np.clip(rng.normal(0, self.exposure), -0.5, 0.5)))
        red, blue = np.exp(rng.normal(0, self.tint, 2))
        linear = linear * gain * np.array([self.balance[0] * red, 1.0, self.balance[1] * blue])
        middle = float(np.median(linear)) + 1e-3
        linear = middle * (linear / middle) ** float(np.exp(np.clip(rng.normal(0, self.contrast), -0.5, 0.5)))
        linear = np.stack([gaussian_filter(linear[..., c], self.blur) for c in range(3)], -1)
        linear = rng.poisson(np.clip(linear, 0, 4) * self.shot) / self.shot
        image = np.clip(linear, 0, 1) ** (1 / 2.2) + rng.normal(0, self.noise, linear.shape)
        out = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        return jpeg(out, self.jpeg) if self.jpeg else out

    def _returned(self, scene: Scene) -> Array:
        """Infrared light that comes back: [rho cos + gloss] / (z / z0)^2."""
        z = np.where(np.isfinite(scene.depth), scene.depth, 1e3)
        cos = facing(np.where(np.isfinite(scene.depth), scene.depth, np.nan_to_num(z)), scene.focal)
        diffuse = scene.rho * cos
        per_metre = scene.focal / max(float(np.median(z[scene.face])) if scene.face.any() else 1.0, 0.05)
        spread = float(scene.scatter[scene.face].mean()) * per_metre if scene.face.any() else 0.0
        if spread > 0.2:
            soft = (scene.scatter > 0).astype(np.float64)
            weight = np.maximum(gaussian_filter(soft, spread), 1e-3)
            diffuse = np.where(soft > 0, gaussian_filter(diffuse * soft, spread) / weight, diffuse)
        return np.asarray((diffuse + scene.gloss) / (z / self.distance) ** 2)

    def _infrared(self, scene: Scene, rng: np.random.Generator) -> Array:
        light = self.ir_gain * self._returned(scene) + self.ir_ambient * (0.3 + scene.rho)
        light = light * float(np.exp(rng.normal(0, 0.12)))
        light = gaussian_filter(light, 0.4)
        light = rng.poisson(np.clip(light, 0, 4) * 1500) / 1500 + rng.normal(0, self.ir_noise, light.shape)
        return np.clip(light, 0, 1).astype(np.float32)

    def _depth(self, scene: Scene, rng: np.random.Generator) -> Array:
        z = scene.depth.astype(np.float64)
        solid = np.isfinite(z)
        safe = np.where(solid, z, 0)
        low, high = minimum_filter(np.where(solid, z, 9.0), 3), maximum_filter(safe, 3)
        edge = solid & (high - low > 0.03) & (low < 9)
        mixed = low + rng.random(z.shape) * (high - low)
        flies = rng.random(z.shape) < self.flying
        sigma = self.depth_noise[0] + self.depth_noise[1] * (safe - 0.4) ** 2
        rough = rng.normal(0, 1, z.shape)
        patch = gaussian_filter(rough, 0.6)  # neighbouring pixels of structured light share their noise
        out = safe + sigma * patch / patch.std()
        out = np.where(edge & flies, mixed, out)
        steep = facing(np.where(solid, z, 10.0), scene.focal) < np.cos(self.steepest)
        lost = ~solid | (edge & ~flies) | (~edge & (steep | (self._returned(scene) < self.fading)))
        out = np.round(out / self.depth_step) * self.depth_step
        return np.where(lost, 0, np.maximum(out, 0)).astype(np.float32)


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """An image after compression at a quality of 1 .. 100."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))


def depth_picture(depth: Array, reach: float = 0.25) -> NDArray[np.uint8]:
    """Depth as pictures of CASIA-SURF have it: from the nearest point (255) to ``reach`` metres behind (1).

    Args:
        depth: metres, 0 where there is no return.
        reach: metres.
    """
    there = depth > 0
    if not there.any():
        return np.zeros(depth.shape, np.uint8)
    near = float(np.percentile(depth[there], 1))
    level = 255 - 254 * np.clip((depth - near) / reach, 0, 1)
    return np.where(there & (depth < near + reach), level, 0).astype(np.uint8)


def plane_residual(depth: Array, mask: NDArray[np.bool_]) -> float:
    """RMS of the least-squares fit z = a x + b y + c over a mask, x and y column and row."""
    rows, cols = np.nonzero(mask)
    z = np.asarray(depth, np.float64)[rows, cols]
    a = np.stack([cols, rows, np.ones(len(rows))], 1).astype(np.float64)
    fit = np.linalg.lstsq(a, z, rcond=None)[0]
    return float(np.sqrt(np.mean((z - a @ fit) ** 2)))
