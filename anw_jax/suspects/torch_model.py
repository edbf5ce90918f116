"""A PyTorch module, a TorchScript file, or a file of weights for a module."""

import contextlib
import hashlib
import io
import os
import pathlib
import types
import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.file_kinds import is_script, names_in
from anw_jax.suspects.identity import check_no_address, read_file, with_identity
from anw_jax.suspects.libraries import missing
from anw_jax.suspects.protocol import PreparedSuspect, cause_of
from anw_jax.suspects.torch_files import check_script, take_up, weights_of

_TAG = b"anw_jax/v1/torch weights\0"


class TorchSuspect(PreparedSuspect):
    """A module of PyTorch, asked without gradients.

    A module that is handed over is asked as it is: its train or eval mode is its owner's
    affair, the probe tells train mode, and running means are put back after each batch.
    Modules that `from_script` and `from_weights` load are put into eval mode. Pickles of whole
    modules are never opened: loading one runs code that stands in the file.

    Args:
      module: `torch.nn.Module` or a scripted one; takes one prepared batch.
      declaration: usually `layout="NCHW"`; its identity becomes the SHA-256 of the module's
        class name, layers (as it prints them), train or eval modes and state. What a class
        of its own does between its layers stands in none of these: name the model where two
        such classes share a name.
      device: where it is asked.
      together: pictures asked at a time, at most; None for all. 1 for a dynamically quantised
        network, whose scales are taken from the whole batch.

    Raises:
      MissingLibraryError: torch is not installed.
      TypeError: `module` that is no module.
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
        """A TorchScript file, as `torch.jit.save` writes it.

        It is a program, and was compiled by its maker: open a stranger's where there is
        nothing to steal.

        Raises:
          SuspectError: no file, a pickle, a file of weights, or no file of PyTorch; a program
            that reads or writes other files, which the identity would not cover.
        """
        torch, path = _torch(), pathlib.Path(path)
        body, digest = read_file(path)
        declaration = with_identity(declaration, digest)
        if not is_script(names_in(body)):
            # Says what else the file is.
            weights_of(torch, path, body)
            raise SuspectError(
                f"{path} holds weights and no network: name what builds the network that they "
                'belong to, module = "file.py:make" (in Python: TorchSuspect.from_weights)'
            )
        check_script(path, body)
        with warnings.catch_warnings():
            # TorchScript is out of fashion; files of it are still what people hand over.
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
        """A file of weights, `torch.save(module.state_dict(), path)`, for a module given.

        The module takes the weights up and is put into eval mode. `code` is what it is known
        by in the identity; None for its class and layers, as it prints them.

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
        take_up(path, module, weights_of(torch, path, body))
        return cls(module.eval(), declaration, device=device, together=together)

    def _run(self, batch: np.ndarray) -> Any:
        torch = _torch()
        with torch.inference_mode(), _without_tf32(torch), _kept_buffers(self._module):
            answers = self._module(torch.from_numpy(batch).to(self._device))
        if type(answers) in (tuple, list):
            return type(answers)(_as_array(torch, part) for part in answers)
        return _as_array(torch, answers)


@contextlib.contextmanager
def _without_tf32(torch: types.ModuleType) -> Iterator[None]:
    """Float32 products of all bits, as in `verify`; the caller's choice comes back after it."""
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
    """Puts running means back that a module in train mode moves at every batch."""
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
        raise missing("asking a PyTorch model", "torch") from None
    return torch


def _digest(module: Any) -> str:
    """SHA-256 of a module's class, layers, modes, and of everything in its state."""
    modes = [name for name, part in module.named_modules() if part.training]
    text = f"{_layers_of(module)} {modes}"
    message = hashlib.sha256(_TAG + text.encode())
    for name, tensor in sorted(module.state_dict().items()):
        array = _as_array(_torch(), tensor)
        message.update(f"{name}{array.shape}{array.dtype}".encode() + array.tobytes())
    return message.hexdigest()


def _layers_of(module: Any) -> str:
    """Class and layers, by their own words.

    Raises:
      ValueError: these hold an address, which is another in every process.
    """
    kind, layers = type(module), check_no_address(repr(module))
    digest = hashlib.sha256(layers.encode()).hexdigest()
    return f"{kind.__module__}.{kind.__qualname__} {digest}"
