"""The predictor: any form of input and any cameras, statuses, thresholds in force, and the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import mien
from mien.cli.main import main
from mien.core.errors import ConfigError, DataError, WeightsError
from mien.data import pad_inputs as module
from mien.data.pads import read_pad
from mien.methods.fm_vit.config import PredictOptions
from mien.methods.fm_vit.predict import PadResult, Predictor
from mien.methods.fm_vit.score import live_logits
from mien.metrics import probability
from tests.data.pad_fixtures import write_video

WHOLE = ("rgb", "depth", "ir")
Pictures = dict[str, NDArray[np.uint8]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fm") / "run"
    assert main(["train", "fm_vit", "--preset", "debug", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def predictor(run: Path) -> Predictor:
    found = mien.load(str(run))
    assert isinstance(found, Predictor)
    return found


@pytest.fixture(scope="module")
def pictures(predictor: Predictor) -> Pictures:
    """A live and an attack presentation of the test set would do; here the first one."""
    test = read_pad(predictor.data).test
    return {m: test.pictures(m, [0])[0] for m in WHOLE}


@pytest.fixture
def files(pictures: Pictures, tmp_path: Path) -> dict[str, str]:
    out = {}
    for m, x in pictures.items():
        Image.fromarray(x if m == "rgb" else x[..., 0]).save(tmp_path / f"{m}.png")
        out[m] = str(tmp_path / f"{m}.png")
    return out


def one(predictor: Predictor, given: Any, **options: Any) -> PadResult:
    (result,) = predictor.predict(given, options=PredictOptions(**options))
    return result


def test_every_form_of_colour_picture_gives_the_same(
    predictor: Predictor, pictures: Pictures, files: dict[str, str]
) -> None:
    rgb = pictures["rgb"]
    tensor = torch.from_numpy(rgb).permute(2, 0, 1).float() / 255
    given = [rgb, files["rgb"], Path(files["rgb"]), Image.fromarray(rgb), tensor, {"rgb": rgb}]
    results = predictor.predict(*given)
    assert len(results) == len(given)
    assert all(r == results[0] for r in results)
    assert results[0].modalities == ("rgb",)
    assert results[0].missing == ("depth", "ir")
    assert results[0].branches == ()


@pytest.mark.parametrize("subset", [("rgb",), ("ir",), ("depth", "ir"), WHOLE])
def test_probability_and_threshold_are_those_of_exactly_these_cameras(
    predictor: Predictor, subset: tuple[str, ...]
) -> None:
    test = read_pad(predictor.data).test
    known = predictor.folder.facts["thresholds"]["+".join(subset)]
    logits = live_logits(predictor.net, test, subset, predictor.data.size, predictor.device)
    expected = probability(logits, known["calibration"])
    for i in (0, 5):
        # Depth is relative in the made set, which is noted; the order of a mapping changes nothing.
        result = one(predictor, {m: test.pictures(m, [i])[0] for m in reversed(subset)})
        assert result.probability == pytest.approx(float(expected[i]), abs=1e-5)
        assert result.threshold == known["value"]
        assert result.rule == known["rule"]
        assert result.live == (expected[i] >= known["value"])
        assert result.modalities == subset
        assert set(result.missing) == set(WHOLE) - set(subset)
        assert [m for m, _ in result.branches] == (list(subset) if len(subset) > 1 else [])
        assert ("8-bit depth" in result.note) == ("depth" in subset)


def test_a_threshold_of_ones_own(predictor: Predictor, pictures: Pictures) -> None:
    p = one(predictor, pictures["rgb"]).probability
    assert p is not None
    for threshold, live in ((p, True), (min(1.0, p + 1e-6), False)):
        result = one(predictor, pictures["rgb"], threshold=threshold)
        assert (result.live, result.threshold, result.rule) == (live, threshold, "given")


def test_what_is_not_judged(predictor: Predictor, pictures: Pictures) -> None:
    rgb = Image.fromarray(pictures["rgb"])
    flat = np.full((64, 64, 3), 90, np.uint8)
    no_return = np.zeros((64, 64), np.uint8)
    blurred = rgb.resize((128, 128)).filter(ImageFilter.GaussianBlur(12))
    for given, status in (
        (flat, "no_face"),
        ({"depth": no_return}, "no_face"),
        (rgb.resize((12, 40)), "too_small"),
        (blurred, "too_blurred"),
        (rgb, "ok"),
    ):
        result = one(predictor, given)
        assert result.status == status
        assert (result.live is None) == (status != "ok")
        assert (result.probability is None) == (status != "ok")
        assert result.frames == (status == "ok")
        assert result.threshold is not None
    assert one(predictor, pictures["rgb"], box=(0, 0, 14, 10)).status == "too_small"


def test_boxes_are_cropped_before_the_net_sees_them(predictor: Predictor, pictures: Pictures) -> None:
    size = predictor.data.size
    around = np.random.default_rng(0).integers(0, 256, (4 * size, 4 * size, 3), np.uint8)
    box = (size, size, 2 * size, 2 * size)
    around[size : 2 * size, size : 2 * size] = pictures["rgb"]
    with_box = predictor.predict(around, boxes=[box])[0]
    assert with_box == one(predictor, around, box=box)
    margin = round(0.15 * size / 2)
    cut = around[size - margin : 2 * size + margin, size - margin : 2 * size + margin]
    near = one(predictor, cut)
    assert with_box.probability == pytest.approx(near.probability, abs=0.05)
    assert with_box.probability != one(predictor, around).probability
    with pytest.raises(ConfigError, match="2 inputs but 1 boxes; give"):
        predictor.predict(around, around, boxes=[box])
    with pytest.raises(DataError, match="outside of the picture"):
        one(predictor, pictures["rgb"], box=(900, 900, 950, 950))


def test_frames_of_a_video_are_averaged(predictor: Predictor, tmp_path: Path) -> None:
    import av

    frames = read_pad(predictor.data).test.pictures("rgb", range(6))
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width = stream.height = predictor.data.size
        stream.pix_fmt = "rgb24"
        for x in [*frames[:3], np.full_like(frames[0], 90), *frames[3:]]:
            for packet in stream.encode(av.VideoFrame.from_ndarray(x, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    result = one(predictor, path)
    known = predictor.folder.facts["thresholds"]["rgb"]["calibration"]
    each = [one(predictor, x).probability for x in frames]
    odds = [np.log(p / (1 - p)) for p in each if p is not None]
    assert result.frames == 6
    assert "1 of 7 frames not judged: no_face" in result.note
    assert result.probability == pytest.approx(1 / (1 + np.exp(-np.mean(odds))), abs=1e-4)
    assert len(known) == 2
    assert one(predictor, path, frames=1).frames == 1


def test_a_video_without_a_face_has_no_verdict(predictor: Predictor, tmp_path: Path) -> None:
    result = one(predictor, write_video(tmp_path / "grey.avi"))
    assert (result.status, result.live, result.frames) == ("no_face", None, 0)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, ConfigError, "no picture: give one or more of rgb, depth, ir"),
        ({"rgb": None}, ConfigError, "no picture"),
        ({"infra": 1}, ConfigError, "no modality 'infra'"),
        ({"dept": 1}, ConfigError, "did you mean 'depth'"),
        ("/nowhere.png", DataError, "no such file"),
    ],
)
def test_inputs_that_cannot_be_used(predictor: Predictor, given: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        predictor.predict(given)
    with pytest.raises(ConfigError, match="--rgb, --depth, --ir FILE"):
        predictor.predict()


def test_a_camera_that_the_model_never_saw(predictor: Predictor, pictures: Pictures) -> None:
    method = replace(predictor.method, net="single", modalities=("ir",), subsets=None, stages=None)
    lone = Predictor(predictor.folder, predictor.net)
    lone.method = method
    with pytest.raises(ConfigError, match="this model does not use 'rgb' pictures; it uses ir"):
        lone.predict(pictures["rgb"])
    assert lone.predict({"ir": pictures["ir"]})[0].status == "ok"


def test_infrared_that_is_the_grey_of_colour(predictor: Predictor, pictures: Pictures) -> None:
    grey = Image.fromarray(pictures["rgb"]).convert("L")
    with pytest.raises(DataError, match="a copy of the colour picture"):
        predictor.predict({"rgb": pictures["rgb"], "ir": grey})
    with pytest.raises(DataError, match="the infrared slot holds a colour picture"):
        predictor.predict({"ir": pictures["rgb"]})


def test_weights_without_thresholds_say_so(predictor: Predictor, pictures: Pictures) -> None:
    facts = {k: v for k, v in predictor.folder.facts.items() if k != "thresholds"}
    bare = Predictor(replace(predictor.folder, facts=facts), predictor.net)
    with pytest.raises(WeightsError, match=r"facts\.json has no threshold for rgb"):
        bare.predict(pictures["rgb"])


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A detector that finds the face in the lower right quarter of bright pictures only."""
    from mien.data.face_detector import NOBODY, FoundFace

    calls: list[int] = []

    def find(pictures: list[NDArray[np.uint8]]) -> list[FoundFace]:
        calls.append(len(pictures))
        out = []
        for p in pictures:
            assert p.shape[2] == 3
            h, w = p.shape[:2]
            box = np.array([w / 2, h / 2, w, h])
            out.append(FoundFace(1, box, np.zeros((5, 2))) if p.mean() > 60 else NOBODY)
        return out

    monkeypatch.setattr(module, "find_faces", find)
    return calls


def test_a_detector_finds_the_box_or_nobody(
    predictor: Predictor, pictures: Pictures, detector: list[int]
) -> None:
    size = predictor.data.size
    large = np.asarray(Image.fromarray(pictures["rgb"]).resize((2 * size, 2 * size)))
    found = one(predictor, large, detector="mediapipe")
    box = (size, size, 2 * size, 2 * size)
    assert found == one(predictor, large, box=box)
    assert detector == [1]  # a box that is given needs no detector
    assert one(predictor, large // 8, detector="mediapipe").status == "no_face"
    assert (
        one(predictor, {"ir": np.tile(pictures["ir"][..., 0], (2, 2))}, detector="mediapipe").status == "ok"
    )
    with pytest.raises(ConfigError, match="--box L T R B"):
        one(predictor, {"depth": pictures["depth"]}, detector="mediapipe")


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["predict", "fm_vit", *argv]) == code
    out = capsys.readouterr()
    text = out.err if code else out.out
    assert "Traceback" not in text
    assert not code or text.count("\n") == 1
    return text


def test_the_verb_with_pictures_by_flags(
    capsys: pytest.CaptureFixture[str], run: Path, files: dict[str, str], tmp_path: Path
) -> None:
    weights = ("--weights", str(run))
    words = [w for m in WHOLE for w in (f"--{m}", files[m])]
    maps = tmp_path / "maps"
    answer = json.loads(said(capsys, *words, "--maps", str(maps), "--json", *weights))
    (item,) = answer["result"]["items"]
    assert item["input"] == files
    assert item["modalities"] == list(WHOLE)
    assert sorted(p.name for p in maps.iterdir()) == ["000_depth.png", "000_ir.png", "000_rgb.png"]
    assert [str(maps / f"000_{m}.png") for m in WHOLE] == item["maps"]
    with Image.open(item["maps"][0]) as shown:
        assert np.asarray(shown).std() > 2
    text = said(capsys, "--rgb", files["rgb"], "--box", "4", "4", "28", "28", *weights)
    assert text.startswith(f"{files['rgb']}: status ok, live ")
    assert "missing [depth, ir]" in text


def test_the_verb_with_colour_pictures(
    capsys: pytest.CaptureFixture[str], run: Path, files: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "several"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        (folder / name).write_bytes(Path(files["rgb"]).read_bytes())
    answer = json.loads(said(capsys, files["rgb"], str(folder), "--json", "--weights", str(run)))
    items = answer["result"]["items"]
    assert [Path(i["input"]).name for i in items] == ["rgb.png", "a.png", "b.png"]
    assert len({i["probability"] for i in items}) == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "or pictures by flags: mien predict fm_vit --help"),
        (("a.png", "--ir", "b.png"), 2, "a.png and --ir: give files before the flags, or all pictures by"),
        (("--rgb", "a.png", "--box", "1", "2", "3"), 2, "--box 1 2 3: give left, top, right and bottom"),
        (("--rgb", "a.png", "--box", "9", "9", "3", "3"), 2, "right must be beyond left"),
        (("--rgb", "a.png", "--threshold", "2"), 2, "predict.threshold=2.0 is outside [0.0, 1.0]"),
        (("--rgb", "a.png", "--frames", "0"), 2, "predict.frames=0 is outside"),
        (("--rgb", "/nowhere.png"), 1, "/nowhere.png: no such file"),
        (("--infra", "a.png"), 2, "--infra"),
    ],
)
def test_wrong_words(
    capsys: pytest.CaptureFixture[str], run: Path, words: tuple[str, ...], code: int, text: str
) -> None:
    assert text in said(capsys, *words, "--weights", str(run), code=code)
