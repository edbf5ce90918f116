"""Weights that do not fit, TorchScript that leans on other files, and what is said of both."""

import io
import re
import warnings
import zipfile

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import Declaration, TorchSuspect
from tests.suspects import twins

torch = pytest.importorskip("torch", reason="torch is an optional library")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def state():
    return twins.torch_module().state_dict()


def with_prefix(prefix, weights=None):
    return {prefix + name: value for name, value in (weights or state()).items()}


def changed(name, change):
    return {**state(), name: change(state()[name])}


MISFITS = {
    "DataParallel": (
        lambda: with_prefix("module."),
        "it lacks '0.weight' and 3 more, it has 'module.0.weight' and 3 more; all names begin "
        "with 'module.' (from DataParallel): save them without it, "
        "{name.removeprefix('module.'): w for name, w in weights.items()}",
    ),
    "compiled": (lambda: with_prefix("_orig_mod."), "'_orig_mod.' (from torch.compile)"),
    "both": (lambda: with_prefix("module._orig_mod."), "'module._orig_mod.' (from DataPar"),
    "Lightning": (lambda: with_prefix("model."), "'model.' (from a wrapper, such as Light"),
    "a name of its own": (
        lambda: with_prefix("encoder.net."),
        "'encoder.net.' (from a wrapper)",
    ),
    "nested": (
        lambda: {"epoch": 3, "state_dict": state()},
        "it lacks '0.weight' and 3 more, it has 'epoch' and 1 more; the weights are under "
        "'state_dict': save them alone, torch.save(torch.load(FILE)['state_dict'], FILE)",
    ),
    "nested under model": (lambda: {"model": state()}, "the weights are under 'model'"),
    "nested and wrapped": (
        lambda: {"state_dict": with_prefix("module.")},
        "the weights are under 'state_dict', and all names begin with 'module.'",
    ),
    "one is missing": (
        lambda: {name: w for name, w in state().items() if name != "4.bias"},
        "it lacks '4.bias'",
    ),
    "one is too many": (lambda: {**state(), "5.bias": torch.ones(1)}, "it has '5.bias'"),
    "another shape": (
        lambda: changed("4.bias", lambda w: w[:3]),
        "4.bias has shape (3,), the module has (5,)",
    ),
    "integers": (
        lambda: changed("4.bias", lambda w: w.to(torch.int8)),
        "4.bias is of torch.int8, the module's of torch.float32",
    ),
    "complex": (lambda: changed("4.bias", lambda w: w * 1j), "4.bias is of torch.complex64"),
    "no values": (lambda: changed("4.bias", lambda w: w.to("meta")), "4.bias has no values"),
    "no tensor": (lambda: changed("4.bias", lambda w: 3), "4.bias is a int and no tensor"),
    "a tensor": (lambda: torch.ones(3), "it holds a Tensor and not weights by name"),
    "a list": (lambda: list(state().values()), "it holds a list and not weights by name"),
    "numbers": (lambda: dict(enumerate(state().values())), "it holds a dict and not weights"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_weights_that_do_not_fit_say_why(tmp_path, what):
    make, message = MISFITS[what]
    path = tmp_path / "w.pt"
    torch.save(make(), path)
    with pytest.raises(SuspectError) as error:
        TorchSuspect.from_weights(path, twins.torch_module(), twins.NCHW)
    assert str(error.value).startswith(f"{path} does not fit the module given: ")
    assert message in str(error.value)


def test_a_module_that_is_wrapped_itself(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(state(), path)
    module = torch.nn.DataParallel(twins.torch_module())
    with pytest.raises(SuspectError, match=r"the module's names begin with 'module\.'"):
        TorchSuspect.from_weights(path, module, twins.NCHW)


def test_weights_of_other_widths_are_taken(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({name: w.double() for name, w in state().items()}, path)
    suspect = TorchSuspect.from_weights(path, twins.torch_module(), twins.NCHW)
    pictures = twins.photos(3).astype(np.float32) / 255
    np.testing.assert_allclose(
        suspect.answers(pictures).scores, twins.logits(pictures), atol=1e-5
    )


def scripted(path, module):
    torch.jit.save(torch.jit.script(module), path)
    return path


class Reads(torch.nn.Module):
    def forward(self, batch):
        weights = torch.from_file("weights.bin", False, 15)
        return batch.mean((2, 3)) @ weights.reshape(3, 5)


class Writes(torch.nn.Module):
    def forward(self, batch):
        torch.save(batch, "seen.pt")
        return batch.mean((2, 3))


@pytest.mark.parametrize(("make", "found"), [(Reads, "from_file"), (Writes, "torch.save")])
def test_torchscript_that_leans_on_other_files(tmp_path, monkeypatch, make, found):
    monkeypatch.chdir(tmp_path)
    path = scripted(tmp_path / "m.pt", make())
    np.zeros(15, "f4").tofile(tmp_path / "weights.bin")
    message = rf"is incomplete: its program reads or writes other files \({re.escape(found)}\)"
    with pytest.raises(SuspectError, match=message):
        TorchSuspect.from_script(path, twins.NCHW)


def test_damaged_torchscript_is_not_compiled(tmp_path):
    path = scripted(tmp_path / "m.pt", twins.torch_module())
    body = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        entry = next(e for e in archive.infolist() if e.filename.endswith("data.pkl"))
    body[entry.header_offset + 200] ^= 1
    path.write_bytes(body)
    with pytest.raises(SuspectError, match=r"m.pt is a damaged TorchScript file \(.*data\.pkl"):
        TorchSuspect.from_script(path, twins.NCHW)


@pytest.mark.parametrize("kept", [0, 7])
def test_torchscript_whose_weights_are_cut_off_is_not_read_past_their_end(tmp_path, kept):
    path = scripted(tmp_path / "m.pt", twins.torch_module())
    with zipfile.ZipFile(path) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    weights = next(name for name in inside if name.endswith("data/3"))
    size = len(inside[weights])
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in inside.items():
            archive.writestr(name, body[:kept] if name == weights else body)
    message = rf"damaged TorchScript file \(.*/data/3 must hold {size} bytes, holds {kept}\)"
    with pytest.raises(SuspectError, match=message):
        TorchSuspect.from_script(path, twins.NCHW)


class Odd(torch.nn.Module):
    """Storages that are empty, shared, viewed in part, quantised, and of small elements."""

    def __init__(self):
        super().__init__()
        self.register_buffer("empty", torch.zeros(0))
        self.register_buffer("few_of_many", torch.zeros(100)[:3])
        self.register_buffer("bits", torch.zeros(3, dtype=torch.bool))
        self.register_buffer("complex", torch.zeros(3, dtype=torch.complex64))
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.same = torch.nn.Parameter(self.weight.data[1:3])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_tensor(torch.ones(7), 0.1, 0, torch.qint32)
        self.register_buffer("quantised", quantised)

    def forward(self, batch):
        return batch.mean((2, 3)) + self.empty.sum()


MAKES = {
    "half": lambda: torch.jit.script(twins.torch_module().half()),
    "double": lambda: torch.jit.script(twins.torch_module().double()),
    "traced": lambda: torch.jit.trace(twins.torch_module(), torch.zeros(1, 3, 8, 8)),
    "odd": lambda: torch.jit.script(Odd()),
}


@pytest.mark.parametrize("name", MAKES)
def test_whole_torchscript_of_other_kinds_is_opened(tmp_path, name):
    torch.jit.save(MAKES[name](), tmp_path / "m.pt")
    TorchSuspect.from_script(tmp_path / "m.pt", twins.NCHW)


def fixed_batch():
    return torch.jit.trace(torch.nn.Flatten(0, 1), torch.zeros(2, 3, 8, 8))


class Fixed(torch.nn.Module):
    def forward(self, batch):
        return batch.reshape(2, 3, 64).mean(2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: twins.torch_module().double(), "Input type (float) and bias type (double)"),
        (lambda: twins.torch_module().half(), "Input type (float) and bias type"),
        (Fixed, "shape '[2, 3, 64]' is invalid for input of size 576"),
    ],
)
def test_the_last_line_of_torchscript_is_passed_on(tmp_path, make, says):
    suspect = TorchSuspect.from_script(scripted(tmp_path / "m.pt", make()), twins.NCHW)
    with pytest.raises(SuspectError) as error:
        suspect.answers(np.zeros((3, 8, 8, 3), np.float32))
    assert says in str(error.value)
    assert "TorchScript interpreter" not in str(error.value)


def test_programs_of_torch_export_and_safetensors_are_named(tmp_path):
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/archive_format", "pt2")
    for read in (
        lambda: TorchSuspect.from_script(path, twins.NCHW),
        lambda: TorchSuspect.from_weights(path, twins.torch_module(), Declaration(5)),
    ):
        with pytest.raises(
            SuspectError, match=r"but a program of torch.export \(\.pt2\), which"
        ):
            read()
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(SuspectError, match=r'\(\.safetensors\): .* module = "file.py:make"'):
        TorchSuspect.from_script(path, twins.NCHW)
