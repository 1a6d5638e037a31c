"""The fixtures are written from the layout of EG3D's files, not by the code under test."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import types

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mien.cli.main import main
from mien.core.errors import LimitError, WeightsError
from mien.methods.otavatar.convert import convert_eg3d, eg3d_state, load_generator
from mien.methods.otavatar.network_pickle import read_network

W, Z, C, SIDES, WIDTHS, PLANE, FEATURES, SR = 8, 6, 5, (4, 8, 16), (8, 8, 4), 4, 6, (6, 4)
SOURCE = "raise SystemExit('the source text was executed')"


def official():
    """Names and tensors of EG3D's ``G_ema.state_dict()``, tiny."""
    torch.manual_seed(0)
    state = {}

    def dense(name, inputs, outputs):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(outputs, inputs), torch.randn(outputs)

    def conv(name, inputs, outputs, kernel):
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel)
        state[f"{name}.bias"] = torch.randn(outputs)
        dense(f"{name}.affine", W, inputs)

    def block(name, inputs, outputs, picture, side):
        state[f"{name}.resample_filter"] = fir()
        for i, (a, b) in enumerate([(inputs, outputs), (outputs, outputs)]):
            if inputs == 0 and i == 0:
                state[f"{name}.const"] = torch.randn(outputs, side, side)
                continue
            conv(f"{name}.conv{i}", a, b, 3)
            state[f"{name}.conv{i}.resample_filter"] = fir()
            state[f"{name}.conv{i}.noise_const"] = torch.randn(side, side)
            state[f"{name}.conv{i}.noise_strength"] = torch.randn(())
        conv(f"{name}.torgb", outputs, picture, 1)

    for i, side in enumerate(SIDES):
        block(f"backbone.synthesis.b{side}", WIDTHS[i - 1] if i else 0, WIDTHS[i], 3 * PLANE, side)
    dense("backbone.mapping.embed", C, W)
    dense("backbone.mapping.fc0", Z + W, W)
    dense("backbone.mapping.fc1", W, W)
    state["backbone.mapping.w_avg"] = torch.randn(W)
    block("superresolution.block0", FEATURES, SR[0], 3, 16)
    block("superresolution.block1", SR[0], SR[1], 3, 32)
    dense("decoder.net.0", PLANE, 7)
    dense("decoder.net.2", 7, 1 + FEATURES)
    return state


def fir():
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64


class Persistent:
    """Pickled as EG3D's decorator does: the reader's name, and a description with source and state."""

    def __init__(self, class_name, state):
        self.meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": class_name,
                     "state": state}  # fmt: skip

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,), None


@pytest.fixture
def their_code(monkeypatch):
    """What has to be importable to write such a file (not to read it)."""

    def _reconstruct_persistent_obj(meta):
        raise SystemExit("the file's own reader was called")

    class EasyDict(dict):
        pass

    for name, thing in (("torch_utils.persistence", _reconstruct_persistent_obj), ("dnnlib.util", EasyDict)):
        module = types.ModuleType(name)
        thing.__module__, thing.__qualname__ = name, thing.__name__
        setattr(module, thing.__name__, thing)
        monkeypatch.setitem(sys.modules, name.partition(".")[0], types.ModuleType(name.partition(".")[0]))
        monkeypatch.setitem(sys.modules, name, module)
    return EasyDict


def network(state, easy_dict, sr_class="SuperresolutionHybrid8XDC"):
    """A tree of modules from dotted names; the decoder's net is a plain torch Sequential, as theirs."""

    def node(prefix, class_name):
        parameters, buffers, children = {}, {}, {}
        for name, tensor in state.items():
            if not name.startswith(prefix):
                continue
            head, _, rest = name[len(prefix) :].partition(".")
            if rest:
                children.setdefault(head, None)
            elif head in ("resample_filter", "noise_const", "w_avg"):
                buffers[head] = tensor
            else:
                parameters[head] = nn.Parameter(tensor, requires_grad=False)
        for head in children:
            kind = sr_class if prefix + head == "superresolution" else "Module"
            children[head] = node(f"{prefix}{head}.", kind)
        inner = {"training": False, "_parameters": parameters, "_buffers": buffers, "_modules": children,
                 "_init_kwargs": easy_dict(z_dim=Z), "_backward_hooks": {}, "_forward_pre": None}  # fmt: skip
        if prefix == "decoder.net.":
            sequential = nn.Sequential()
            sequential._modules.update({"0": children["0"], "1": nn.Softplus(), "2": children["2"]})
            return sequential
        return Persistent(class_name, inner)

    return node("", "TriPlaneGenerator")


def written(path, state, easy_dict, **changes):
    nets = {"G": None, "D": None, "G_ema": network(state, easy_dict, **changes), "augment_pipe": None}
    path.write_bytes(pickle.dumps({"training_set_kwargs": easy_dict(use_labels=True), **nets}))
    return path


def test_a_network_pickle_becomes_our_generator(tmp_path, their_code):
    theirs = official()
    source = written(tmp_path / "eg3d.pkl", theirs, their_code)
    for name in ("torch_utils.persistence", "dnnlib.util", "torch_utils", "dnnlib"):
        del sys.modules[name]
    path, count = convert_eg3d(source, tmp_path / "eg3d.safetensors")
    ours = load_file(path)
    assert count == len(ours)
    dropped = [k for k in theirs if k.endswith("resample_filter") or ("superres" in k and "noise" in k)]
    assert len(ours) == len(theirs) - len(dropped)
    pairs = {
        "mapping.embed.weight": "backbone.mapping.embed.weight",
        "mapping.layers.1.bias": "backbone.mapping.fc1.bias",
        "mapping.w_avg": "backbone.mapping.w_avg",
        "synthesis.const": "backbone.synthesis.b4.const",
        "synthesis.blocks.0.conv1.noise_const": "backbone.synthesis.b4.conv1.noise_const",
        "synthesis.blocks.2.conv0.affine.bias": "backbone.synthesis.b16.conv0.affine.bias",
        "synthesis.blocks.1.to_rgb.weight": "backbone.synthesis.b8.torgb.weight",
        "super_resolution.blocks.1.conv1.weight": "superresolution.block1.conv1.weight",
        "super_resolution.blocks.0.to_rgb.affine.bias": "superresolution.block0.torgb.affine.bias",
        "decoder.net.2.bias": "decoder.net.2.bias",
    }
    for mine, other in pairs.items():
        assert torch.equal(ours[mine], theirs[other])
    net = load_generator(path)
    assert (net.num_ws, net.mapping.z_dim, net.mapping.c_dim, net.plane_channels) == (6, Z, C, PLANE)
    assert net.super_resolution.side == 8
    planes = net.planes(net.mapping(torch.randn(2, Z), torch.randn(2, C)))
    assert planes.shape == (2, 3, PLANE, 16, 16)
    assert all(p.requires_grad for p in net.parameters())
    assert torch.equal(net.state_dict()["synthesis.const"], theirs["backbone.synthesis.b4.const"])


def test_the_command(tmp_path, their_code, capsys):
    source = written(tmp_path / "eg3d.pkl", official(), their_code)
    assert main(["convert", "eg3d", str(source)]) == 0
    assert "tensors" in capsys.readouterr().out
    assert load_generator(tmp_path / "eg3d.safetensors").num_ws == 6
    (tmp_path / "bad.pkl").write_bytes(b"no pickle")
    assert main(["convert", "eg3d", str(tmp_path / "bad.pkl")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_views_of_one_storage_and_other_types_come_through(tmp_path, their_code):
    base = torch.arange(12.0).view(3, 4)
    buffers = {"view": base.T[1:], "half": base.half(), "whole": torch.arange(3), "empty": torch.zeros(0, 2),
               "one": torch.tensor(7.0), "flags": torch.tensor([True, False]), "nothing": None}  # fmt: skip
    net = Persistent("Net", {"_buffers": buffers, "_parameters": {}, "_modules": {"child": None}})
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": net}))
    tensors, classes = read_network(tmp_path / "n.pkl")
    assert classes == {"": "Net"}
    assert set(tensors) == set(buffers) - {"nothing"}
    for name, tensor in tensors.items():
        assert tensor.dtype == buffers[name].dtype
        assert torch.equal(tensor, buffers[name])


def test_eg3d_state_of_half_precision_and_other_layouts():
    theirs = {k: v.half() for k, v in official().items()}
    state, sizes = eg3d_state(theirs)
    assert {v.dtype for v in state.values()} == {torch.float32}
    assert sizes["sr_side"] == 8
    assert sizes["sr_channels"] == SR
    for change, words in (
        (lambda s: s.pop("decoder.net.0.bias"), "decoder.net.0.bias"),
        (lambda s: s.pop("backbone.synthesis.b8.conv0.bias"), "synthesis.blocks.1.conv0.bias is missing"),
        (lambda s: s.pop("superresolution.block0.conv1.noise_const"), "is missing"),
        (
            lambda s: s.update({"backbone.synthesis.b12.conv0.bias": torch.zeros(4)}),
            "it holds 'backbone.synth",
        ),
        (lambda s: s.update({"discriminator.b4.bias": torch.zeros(4)}), "it holds 'discriminator"),
        (lambda s: s.update({"backbone.mapping.w_avg": torch.zeros(9)}), r"mapping.w_avg has shape \(9,\)"),
        (lambda s: s["backbone.synthesis.b8.resample_filter"].zero_(), "another filter"),
        (lambda s: s.clear(), "no generator"),
    ):
        changed = official()
        change(changed)
        with pytest.raises(WeightsError, match=words):
            eg3d_state(changed)


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def refused(path, data, words):
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data))
    with pytest.raises(WeightsError, match=words) as caught:
        read_network(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))
    return True


@pytest.mark.parametrize(
    ("function", "argument"),
    [(os.system, "touch {}"), (eval, "open({!r}, 'w')"), (exec, "open({!r}, 'w')"), (io.open, "{}"),
     (torch.load, "{}"), (getattr, "{}")],
)  # fmt: skip
def test_calls_are_refused_by_name_and_not_made(tmp_path, function, argument):
    mark = tmp_path / "mark"
    data = {"G_ema": Call(function, argument.format(str(mark)))}
    assert refused(tmp_path / "x.pkl", data, r"refused the global [\w.]+; nothing was executed")
    assert not mark.exists()


def old_format(reference, body, keys=("0",), magic=0x1950A86A20F9469CFC6C):
    """A storage's bytes in torch's old format, by hand."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.reference if isinstance(value, Reference) else None

    stream = io.BytesIO()
    for value in (magic, 1001, {"little_endian": True, "type_sizes": {}}, Reference(reference), list(keys)):
        Pickler(stream, 2).dump(value)
    return stream.getvalue() + body


class Reference:
    def __init__(self, reference):
        self.reference = reference


def with_storage(data, size=(3,), stride=(1,), offset=0):
    tensor = Call(torch._utils._rebuild_tensor_v2, Call(torch.storage._load_from_bytes, data), offset, size,
                  stride, False, {})  # fmt: skip
    return {"G_ema": Persistent("Net", {"_buffers": {"x": tensor}, "_parameters": {}, "_modules": {}})}


GOOD = ("storage", torch.FloatStorage, "0", "cpu", 3, None)
BODY = struct.pack("<q3f", 3, 1, 2, 3)


def test_a_storage_by_hand(tmp_path, their_code):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(with_storage(old_format(GOOD, BODY))))
    assert read_network(tmp_path / "x.pkl")[0]["x"].tolist() == [1, 2, 3]
    elsewhere = ("storage", torch.FloatStorage, "0", "cuda:7", 3, None)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(with_storage(old_format(elsewhere, BODY))))
    assert read_network(tmp_path / "x.pkl")[0]["x"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (old_format(GOOD, BODY[:-1]), "a storage of 11 bytes for 3"),
        (old_format(GOOD, struct.pack("<q3f", 2**40, 1, 2, 3)), "a storage of"),
        (old_format((*GOOD[:4], 2**60, None), BODY), "a storage of"),
        (old_format((*GOOD[:4], -3, None), BODY), "without a name or a size"),
        (old_format((*GOOD[:5], ("0", 0, 2)), BODY), "a part of another"),
        (old_format(GOOD, BODY, keys=("1",)), "a part of another"),
        (old_format(GOOD, BODY, magic=7), "of another format"),
        (old_format(("module", *GOOD[1:]), BODY), "outside of a storage"),
        (old_format(("storage", os.system, *GOOD[2:]), BODY), r"refused the global \w+.system"),
        (old_format(("storage", Call(os.system, "touch mark"), *GOOD[2:]), BODY), "refused the global"),
        (b"", "damaged"),
        (b"PK\x03\x04 a zip file", "damaged"),
        (17, "made of a int"),
    ],
)
def test_hostile_storages(tmp_path, their_code, monkeypatch, data, words):
    monkeypatch.chdir(tmp_path)
    assert refused(tmp_path / "x.pkl", with_storage(data), words)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pkl"]


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((4,), (1,), 0), ((3,), (1,), 1), ((2**40,), (0,), 0), ((-1,), (1,), 0), ((3,), (-1,), 0),
     ((3,), (1, 1), 0), ((1,) * 9, (1,) * 9, 0), (("3",), (1,), 0), ((2**70,), (1,), 0)],
)  # fmt: skip
def test_hostile_tensors(tmp_path, their_code, size, stride, offset):
    data = with_storage(old_format(GOOD, BODY), size, stride, offset)
    assert refused(tmp_path / "x.pkl", data, "a tensor (that reaches|of no size)")


def test_hostile_trees(tmp_path, their_code):
    path = tmp_path / "x.pkl"
    state = {"_buffers": {}, "_parameters": {}, "_modules": {}}
    loop = Persistent("Net", state)
    state["_modules"]["again"] = loop
    assert refused(path, {"G_ema": loop}, "without a description")  # a circle closes before it is described
    circle = nn.Sequential()
    circle._modules["again"] = circle
    assert refused(path, {"G_ema": circle}, "modules without end")
    bush = Persistent("Leaf", {"_modules": {}})
    for _ in range(20):
        bush = Persistent("Net", {"_modules": {"a": bush, "b": bush}})
    assert refused(path, {"G_ema": bush}, "modules without end")
    laughs = ["ha"] * 9
    for _ in range(30):
        laughs = [laughs] * 9
    assert refused(path, with_storage(old_format(GOOD, BODY), size=(laughs,)), "of no size")
    assert refused(path, {"G_ema": Persistent("Net", {"_buffers": {7: 1}})}, "no named tensor")
    assert refused(path, {"G_ema": Persistent("Net", {"_buffers": {"a": 1}})}, "no named tensor")
    assert refused(path, {"G_ema": Persistent(laughs, {})}, "without a description")
    assert refused(path, {"G_ema": {"not": "a module"}}, "the network is no module")
    assert refused(path, {"G": None}, "no network 'G_ema'")
    assert refused(path, [1, 2], "no network 'G_ema'")
    assert refused(path, b"\x80\x04N\x94r\xff\xff\xff\x7f.", "memo index")
    assert refused(path, pickle.dumps({"G_ema": bush})[:-9], "damaged")
    assert refused(path, b"\x80\x02U\x03abcQ.", "outside of the file")


def test_limits_and_missing_files(tmp_path, their_code, monkeypatch):
    source = written(tmp_path / "eg3d.pkl", official(), their_code)
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "1000")
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        read_network(source)
    with pytest.raises(WeightsError, match="no such file"):
        read_network(tmp_path / "absent.pkl")


def test_one_storage_under_many_names_is_bounded(tmp_path, their_code, monkeypatch):
    value = torch.zeros(2000)
    net = Persistent("Net", {"_buffers": {str(i): value for i in range(50)}})
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": net}))
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "40000")
    with pytest.raises(WeightsError, match="tensors of more than 40000 bytes"):
        read_network(tmp_path / "x.pkl")


def test_other_super_resolutions_are_named(tmp_path, their_code):
    source = written(tmp_path / "eg3d.pkl", official(), their_code, sr_class="SuperresolutionHybrid4X")
    with pytest.raises(WeightsError, match="'SuperresolutionHybrid4X'; only those of 512"):
        convert_eg3d(source, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("sizes", ["", "[]", "{\"z_dim\": -1}", "{\"z_dim\": 1e9}", "{\"other\": 3}",
                                   "{\"plane_size\": 20}", "{\"w_dim\": [\"a\"]}"])  # fmt: skip
def test_files_of_other_sizes_are_refused(tmp_path, sizes):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, str(path), {"sizes": sizes} if sizes else None)
    with pytest.raises(WeightsError, match="no sizes of a generator"):
        load_generator(path)


def test_a_file_of_other_tensors_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, str(path), {"sizes": "{}"})
    with pytest.raises(WeightsError, match="a is unknown"):
        load_generator(path)
