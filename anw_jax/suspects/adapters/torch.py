"""A PyTorch module, a TorchScript file, or a file of weights for a module."""

import contextlib
import hashlib
import io
import os
import pathlib
import pickle
import re
import types
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.adapters.base import (
    PreparedSuspect,
    cause_of,
    check_no_address,
    missing,
    with_identity,
)
from anw_jax.suspects.adapters.files import (
    PICKLE,
    TORCH_PICKLE,
    TORCHSCRIPT,
    damage_in,
    kind_of,
    names_in,
    read_file,
    short_storage_in,
)
from anw_jax.suspects.declaration import Declaration

_TAG = b"anw_jax/v1/torch weights\0"
# Operators that read or write a file while the program runs, by PyTorch and torchvision.
_FILE_OPERATORS = re.compile(
    r"\b(from_file|read_file|write_file|load_tensor|torch\s*\.\s*save|aten\s*\.\s*save)\b"
)
# Prefixes that tools add to the names of weights.
_PREFIXES = {
    "module.": "DataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "a wrapper, such as Lightning's",
}


class TorchSuspect(PreparedSuspect):
    """A module of PyTorch, queried without gradients.

    A module that the caller gives is used as it is: the caller chooses train or eval mode, the
    probe detects train mode, and running means are restored after each batch. Modules loaded
    by `from_script` and `from_weights` are put into eval mode. Pickles of whole modules are
    never opened, because loading one runs code from the file.

    Args:
      module: `torch.nn.Module` or a scripted one; takes one prepared batch.
      declaration: usually `layout="NCHW"`; its identity becomes the SHA-256 of the module's
        class name, layers (as it prints them), train or eval modes and state. None of these
        shows what a class does between its layers: name the model if two such classes share a
        name.
      device: on which it runs.
      together: largest number of pictures in one call; None for no limit. 1 for a dynamically
        quantised network, whose scales come from the whole batch.

    Raises:
      MissingLibraryError: torch is not installed.
      TypeError: `module` is not a module.
    """

    def __init__(
        self,
        module: Any,
        declaration: Declaration,
        *,
        device: str = "cpu",
        together: int | None = None,
    ):
        torch = _torch()
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
        self._module, self._device = module.to(device), device
        declaration = with_identity(declaration, lambda: _digest(module))
        super().__init__(declaration, together=together)

    @classmethod
    def from_script(
        cls,
        path: str | os.PathLike,
        declaration: Declaration,
        *,
        device: str = "cpu",
        together: int | None = None,
    ) -> Self:
        """Open a TorchScript file, as `torch.jit.save` writes it.

        TorchScript files can execute code. Load untrusted files only in a sandbox.

        Raises:
          SuspectError: no file, a pickle, a file of weights, or not a file of PyTorch; a
            program that reads or writes other files, which the identity would not cover.
        """
        torch, path = _torch(), pathlib.Path(path)
        body, digest = read_file(path)
        declaration = with_identity(declaration, digest)
        if kind_of(body) != TORCHSCRIPT:
            _load(torch, path, body)  # raises with what else the file is
            raise SuspectError(
                f"{path} holds weights and no network: name what builds the network that they "
                'belong to, module = "file.py:make" (in Python: TorchSuspect.from_weights)'
            )
        _check_script(path, body)
        with warnings.catch_warnings():
            # TorchScript is deprecated, but such files are still handed over.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                module = torch.jit.load(io.BytesIO(body), map_location=device)
            except Exception as error:
                raise SuspectError(
                    f"{path} cannot be opened as TorchScript ({cause_of(error, 300)}): it is "
                    "damaged, or of another version of PyTorch"
                ) from error
        return cls(module.eval(), declaration, device=device, together=together)

    @classmethod
    def from_weights(
        cls,
        path: str | os.PathLike,
        module: Any,
        declaration: Declaration,
        *,
        device: str = "cpu",
        code: str | None = None,
        together: int | None = None,
    ) -> Self:
        """Open a file of weights, `torch.save(module.state_dict(), path)`, for a module.

        The weights are loaded into the module, which is put into eval mode. `code` identifies
        the module; None for its class and layers, as it prints them.

        Raises:
          SuspectError: no file, a pickle, or weights that do not fit the module.
        """
        torch, path = _torch(), pathlib.Path(path)
        body, digest = read_file(path)
        declaration = with_identity(
            declaration, lambda: f"{digest} in {code or _layers_of(module)}"
        )
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
        _load_into(module, _load(torch, path, body), path)
        return cls(module.eval(), declaration, device=device, together=together)

    def _run(self, batch: np.ndarray) -> Any:
        return self.outputs(batch)

    def outputs(self, *arrays: np.ndarray) -> Any:
        """Return what the module returns for arrays, with tensors as arrays."""
        torch = _torch()
        with torch.inference_mode(), _without_tf32(torch), _kept_buffers(self._module):
            answers = self._module(*(torch.from_numpy(a).to(self._device) for a in arrays))
        if type(answers) in (tuple, list):
            return type(answers)(_as_array(torch, part) for part in answers)
        return _as_array(torch, answers)


@contextlib.contextmanager
def _without_tf32(torch: types.ModuleType) -> Iterator[None]:
    """Use full float32 products, as in `verify`; restore the caller's choice afterwards."""
    choices = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [choice.allow_tf32 for choice in choices]
    try:
        for choice in choices:
            choice.allow_tf32 = False
        yield
    finally:
        for choice, allowed in zip(choices, before, strict=True):
            choice.allow_tf32 = allowed


@contextlib.contextmanager
def _kept_buffers(module: Any) -> Iterator[None]:
    """Restore the running means that a module in train mode changes at every batch."""
    if not any(part.training for part in module.modules()):
        yield
        return
    before = [
        (owner, name, buffer, buffer.clone())
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for owner, name, buffer, values in before:
            buffer.copy_(values)
            setattr(owner, name, buffer)  # forward may have put another in its place


def _as_array(torch: types.ModuleType, values: Any) -> Any:
    if not isinstance(values, torch.Tensor) or type(values).__name__ == "MaskedTensor":
        return values
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()


def _torch() -> types.ModuleType:
    try:
        import torch
    except ImportError:
        raise missing("querying a PyTorch model", "torch") from None
    return torch


def _digest(module: Any) -> str:
    """Return the SHA-256 of a module's class, layers, modes and state."""
    modes = [name for name, part in module.named_modules() if part.training]
    text = f"{_layers_of(module)} {modes}"
    message = hashlib.sha256(_TAG + text.encode())
    for name, tensor in sorted(module.state_dict().items()):
        array = _as_array(_torch(), tensor)
        message.update(f"{name}{array.shape}{array.dtype}".encode() + array.tobytes())
    return message.hexdigest()


def _layers_of(module: Any) -> str:
    """Return the class and a digest of the printed layers.

    Raises:
      ValueError: a memory address in them, which differs in every process.
    """
    kind, layers = type(module), check_no_address(repr(module))
    digest = hashlib.sha256(layers.encode()).hexdigest()
    return f"{kind.__module__}.{kind.__qualname__} {digest}"


def _check_script(path: pathlib.Path, body: bytes) -> None:
    """Check that TorchScript is intact and neither reads nor writes other files.

    Raises:
      SuspectError: see above.
    """
    if damage := damage_in(body) or short_storage_in(body):
        raise SuspectError(f"{path} is a damaged TorchScript file ({damage})")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for name in archive.namelist():
            if not name.endswith(".py"):
                continue
            if found := _FILE_OPERATORS.search(archive.read(name).decode(errors="replace")):
                raise SuspectError(
                    f"{path} is incomplete: its program reads or writes other files "
                    f"({found[0]}), which could be replaced unnoticed; ask for a model with "
                    "everything inside"
                )


def _load(torch: types.ModuleType, path: pathlib.Path, body: bytes) -> Any:
    """Open a file of tensors without running code of it.

    Raises:
      SuspectError: a pickle of other things, or not a file of PyTorch.
    """
    kind = kind_of(body)
    if kind == TORCHSCRIPT:
        raise SuspectError(
            f"{path} is TorchScript and needs no module: leave module out (in Python: "
            "TorchSuspect.from_script)"
        )
    if names_in(body) is not None and (damage := damage_in(body)):
        raise SuspectError(f"{path} is a damaged file of PyTorch ({damage})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        if kind not in (PICKLE, TORCH_PICKLE):
            other = f", but {kind}" if kind else ""
            raise SuspectError(f"{path} is not a file of PyTorch{other}") from None
        if isinstance(error, pickle.UnpicklingError):
            raise SuspectError(
                f"{path} is a pickle of Python objects, and opening one runs code that stands "
                "in it: ask for torch.save(model.state_dict()), TorchScript or ONNX instead"
            ) from None
        raise SuspectError(
            f"{path} cannot be opened as a file of PyTorch ({cause_of(error)}): it is damaged "
            "or another kind of file"
        ) from error


def _load_into(module: Any, weights: Any, path: pathlib.Path) -> None:
    """Load weights into a module, by name.

    Raises:
      SuspectError: they do not fit; the message names the first that are missing, left over,
        or of another shape or type.
    """
    wanted = module.state_dict()
    if why := _misfit(wanted, weights):
        raise SuspectError(f"{path} does not fit the module given: {why}")
    try:
        module.load_state_dict(weights)
    except Exception as error:  # modules may have loading code of their own
        cause = cause_of(error, 300)
        raise SuspectError(f"{path} does not fit the module given: {cause}") from None


def _misfit(wanted: Mapping[str, Any], weights: Any) -> str:
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        return f"it holds a {type(weights).__name__} and not weights by name"
    missing = [name for name in wanted if name not in weights]
    unexpected = [name for name in weights if name not in wanted]
    if missing or unexpected:
        parts = [
            f"{what} {_first(names)}"
            for what, names in (("it lacks", missing), ("it has", unexpected))
            if names
        ]
        return ", ".join(parts) + _hint(wanted, weights)
    for name, tensor in wanted.items():
        if why := _misfit_of(name, tensor, weights[name]):
            return why
    return ""


def _misfit_of(name: str, wanted: Any, given: Any) -> str:
    if not hasattr(wanted, "shape"):
        return ""  # state of another kind, which the module loads itself
    if not hasattr(given, "shape") or not hasattr(given, "is_floating_point"):
        return f"{name} is a {type(given).__name__} and no tensor"
    if given.shape != wanted.shape:
        return f"{name} has shape {tuple(given.shape)}, the module has {tuple(wanted.shape)}"
    # Numbers of another kind would be cast, and their scale would be lost.
    kinds = [(t.is_floating_point(), t.is_complex(), t.is_quantized) for t in (given, wanted)]
    if kinds[0] != kinds[1]:
        return f"{name} is of {given.dtype}, the module's of {wanted.dtype}"
    if given.device.type == "meta":
        return f"{name} has no values (device meta)"
    return ""


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r:.80}{more}"


def _hint(wanted: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    """Return advice that would make the names fit."""
    for key, inner in weights.items():
        if isinstance(inner, Mapping) and set(inner) & set(wanted):
            return (
                f"; the weights are under {key!r:.60}: save them alone, "
                f"torch.save(torch.load(FILE)[{key!r:.60}], FILE)"
            )
        # Both at once, as in a checkpoint of a wrapped module.
        if isinstance(inner, Mapping) and (hint := _prefix_hint(wanted, inner)):
            return f"; the weights are under {key!r:.60}{hint.replace(';', ', and', 1)}"
    return _prefix_hint(wanted, weights)


def _prefix_hint(wanted: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    names = [name for name in weights if isinstance(name, str)]
    for prefix in _prefixes_of(names):
        if {name.removeprefix(prefix) for name in names} & set(wanted):
            return (
                f"; all names begin with {prefix!r} ({_by(prefix)}): save them without it, "
                f"{{name.removeprefix({prefix!r}): w for name, w in weights.items()}}"
            )
    for prefix in _prefixes_of(list(wanted)):
        if {prefix + name for name in names} & set(wanted):
            return f"; the module's names begin with {prefix!r}: give the network inside it"
    return ""


def _prefixes_of(names: list[str]) -> list[str]:
    """Return the prefixes up to a dot that all names share, the longest first."""
    if not names:
        return []
    pieces = names[0].split(".")[:-1]
    found = [".".join(pieces[:n]) + "." for n in range(len(pieces), 0, -1)]
    return [prefix for prefix in found if all(name.startswith(prefix) for name in names)]


def _by(prefix: str) -> str:
    makers = [maker for start, maker in _PREFIXES.items() if start in prefix]
    return f"from {', '.join(makers)}" if makers else "from a wrapper"
