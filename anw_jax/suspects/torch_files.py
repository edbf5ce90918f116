"""Files of PyTorch: what they are, and weights that go into a module or do not fit it."""

import io
import pathlib
import pickle
import re
import types
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

from anw_jax.errors import SuspectError
from anw_jax.suspects.file_kinds import damage_in, is_script, kind_of, names_in
from anw_jax.suspects.protocol import cause_of

# Operators that read or write a file while the program runs, by PyTorch and torchvision.
_FILE_OPERATORS = re.compile(
    r"\b(from_file|read_file|write_file|load_tensor|torch\s*\.\s*save|aten\s*\.\s*save)\b"
)
# What tools put before the names of weights, and where a training keeps them.
_PREFIXES = {
    "module.": "DataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "a wrapper, such as Lightning's",
}


def check_script(path: pathlib.Path, body: bytes) -> None:
    """Refuses TorchScript that is damaged, or reads or writes other files.

    Raises:
      SuspectError: see above.
    """
    if damage := damage_in(body):
        raise SuspectError(f"{path} is a damaged TorchScript file ({damage})")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for name in archive.namelist():
            if not name.endswith(".py"):
                continue
            if found := _FILE_OPERATORS.search(archive.read(name).decode(errors="replace")):
                raise SuspectError(
                    f"{path} is not whole: its program reads or writes other files "
                    f"({found[0]}), which could be exchanged unseen; ask for a model with "
                    "everything inside"
                )


def weights_of(torch: types.ModuleType, path: pathlib.Path, body: bytes) -> Any:
    """Opens a file of tensors without running code of it.

    Raises:
      SuspectError: a pickle of other things, or no file of PyTorch.
    """
    names = names_in(body)
    if is_script(names):
        raise SuspectError(
            f"{path} is TorchScript and needs no module: leave module out (in Python: "
            "TorchSuspect.from_script)"
        )
    if names is not None and (damage := damage_in(body)):
        raise SuspectError(f"{path} is a damaged file of PyTorch ({damage})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if not _is_pickle(body):
            raise _no_file_of_torch(path, body) from None
        raise SuspectError(
            f"{path} is a pickle of Python objects, and opening one runs code that stands in "
            "it: ask for torch.save(model.state_dict()), TorchScript or ONNX instead"
        ) from None
    except Exception as error:
        if not _is_pickle(body):
            raise _no_file_of_torch(path, body) from None
        raise SuspectError(
            f"{path} cannot be opened as a file of PyTorch ({cause_of(error)}): it is damaged "
            "or another kind of file"
        ) from error


def take_up(path: pathlib.Path, module: Any, weights: Any) -> None:
    """Puts weights into a module, by name.

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
        return f"it holds a {type(weights).__name__}, and no weights by name"
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
        return ""  # state of another kind, which the module reads itself
    if not hasattr(given, "shape") or not hasattr(given, "is_floating_point"):
        return f"{name} is a {type(given).__name__} and no tensor"
    if given.shape != wanted.shape:
        return f"{name} has shape {tuple(given.shape)}, the module has {tuple(wanted.shape)}"
    # Numbers of another kind would be cast, and what they were scaled by would be lost.
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
    """What would make the names fit."""
    for key, inner in weights.items():
        if isinstance(inner, Mapping) and set(inner) & set(wanted):
            return (
                f"; the weights are under {key!r:.60}: save them alone, "
                f"torch.save(torch.load(FILE)[{key!r:.60}], FILE)"
            )
        # Both at once, as a checkpoint of a wrapped module has it.
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
    """Beginnings up to a dot that all names share, the longest first."""
    if not names:
        return []
    pieces = names[0].split(".")[:-1]
    found = [".".join(pieces[:n]) + "." for n in range(len(pieces), 0, -1)]
    return [prefix for prefix in found if all(name.startswith(prefix) for name in names)]


def _by(prefix: str) -> str:
    makers = [maker for start, maker in _PREFIXES.items() if start in prefix]
    return f"from {', '.join(makers)}" if makers else "from a wrapper"


def _no_file_of_torch(path: pathlib.Path, body: bytes) -> SuspectError:
    kind = kind_of(body)
    return SuspectError(f"{path} is not a file of PyTorch" + (f", but {kind}" if kind else ""))


def _is_pickle(body: bytes) -> bool:
    """Whether a file is a pickle, bare or in an archive; nothing of it is run."""
    names = names_in(body)
    if names is not None:
        return any(name.endswith("data.pkl") for name in names)
    return body.startswith(b"\x80")
