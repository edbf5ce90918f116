"""Read a file that says how a suspect is queried (TOML or JSON), and open the suspect."""

import dataclasses
import hashlib
import os
import pathlib
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from anw_jax import _check, _json
from anw_jax.audit.files import read_bytes
from anw_jax.audit.suspect_code import called, load_function, warn_of_unlisted
from anw_jax.errors import AnwError, CaseError
from anw_jax.keys import Denoising
from anw_jax.suspects import (
    AnswerTemplate,
    CallableSuspect,
    Declaration,
    DenoisingSuspect,
    HttpOptions,
    HttpSuspect,
    KerasSuspect,
    NoiseSchedule,
    OnnxSuspect,
    RecordedSuspect,
    RequestTemplate,
    Suspect,
    TorchSuspect,
)
from anw_jax.suspects.adapters.base import PreparedSuspect
from anw_jax.suspects.adapters.denoiser import open_diffusers
from anw_jax.suspects.adapters.files import file_digest
from anw_jax.suspects.adapters.surroundings import Surroundings


@dataclasses.dataclass(frozen=True)
class SuspectFile:
    """A file that describes how a suspect is queried.

    Fields of the file:

    * `kind`: onnx, torch, keras, http, recorded, callable, denoiser, and what `makers` adds.
    * `file` (onnx, torch, keras, recorded, denoiser): the model, relative to this file.
    * `function` (callable, denoiser) or `module` (torch and denoiser, for a file of weights):
      "file.py:name", a function of a batch (and of steps), or one that returns the module.
      Warning: **this code is executed**; use only code that you trust.
    * `scheduler` (denoiser): the file `scheduler_config.json`; `denoising`: a table with
      steps, seed and mirror, as `suspects.DenoisingSuspect` takes them.
    * `files` (with a function or module): further files that it consists of, such as its
      weights and code that it imports. They are part of the identity, which otherwise covers
      only that one file; a warning names local code that is not listed.
    * `declaration`: a table with the fields of `suspects.Declaration`; recorded answers have
      their own.
    * `options`: of the adapter (onnx: output, num_threads; torch: device; http: `HttpOptions`;
      onnx, torch, keras and callable: together, the number of images in a batch, 1 for a
      model whose answers change with the rest of the batch, and clip, for a model that answers
      with images and leaves their range).
    * http also: `url`, `request`, `answer` (fields of the templates), and
      `headers_from_env` = {header = "NAME_OF_VARIABLE"}: no secret is in the file.

    Attributes:
      name: of the file without its extension.
      path: the file.
      fields: its content.
      digest: SHA-256 of the file.
    """

    name: str
    path: pathlib.Path
    fields: Mapping[str, Any]
    digest: str

    @classmethod
    def load(cls, path: str | os.PathLike) -> "SuspectFile":
        """Read the file.

        Raises:
          CaseError: no TOML or JSON, or no `kind` in it.
        """
        path = pathlib.Path(path)
        body = read_bytes(path)
        try:
            text = body.decode()
            fields = _json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise CaseError(f"{path} is not valid {path.suffix[1:].upper()}: {error}") from None
        if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
            raise CaseError(f'{path} must name a kind, such as kind = "onnx"')
        return cls(path.stem, path, fields, hashlib.sha256(body).hexdigest())

    @property
    def kind(self) -> str:
        """The adapter's name."""
        return self.fields["kind"]

    @property
    def runs_code(self) -> bool:
        """Whether the model is code, or a file that can hold code.

        Only ONNX graphs, recorded answers and folders of diffusers are numbers alone.
        TorchScript and Keras files may read other files; kinds of `makers` are code.
        """
        if self.kind == "denoiser" and not {"function", "module"} & set(self.fields):
            name = self.fields.get("file")
            return not (isinstance(name, str) and path_beside(self.path, name).is_dir())
        return self.kind not in ("onnx", "recorded")

    def open(
        self, makers: Mapping[str, "MakerFn"] | None = None, *, images: bool = False
    ) -> Suspect:
        """Open the suspect.

        Args:
          makers: further kinds, by name.
          images: whether it must answer with images, or may not.

        Raises:
          CaseError: an unknown kind, a field that is missing or unknown, or a bad value;
            answers that are images where losses are wanted, or the reverse.
          SuspectError, MissingLibraryError: as the adapters.

        Warns of local code files that the suspect runs and its identity does not cover.
        """
        known = {**MAKERS, **(makers or {})}
        used = _Fields(self)
        surroundings = Surroundings(used.code_folder())
        try:
            make = known[_check.one_of(known, kind=self.kind)]
            with surroundings:
                suspect = used.clipped(make(used))
                used.refuse_unused()
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, AnwError):
                raise
            raise CaseError(f"{self.path}: {error}") from None
        if (suspect.declaration.answer == "image") != images:
            do = (
                "'image', for a mark in outputs" if images else "no image, for a case of photos"
            )
            raise CaseError(
                f"{self.path}: answer must be {do}; got {suspect.declaration.answer!r}"
            )
        if isinstance(suspect, PreparedSuspect):
            suspect.display_name, suspect.surroundings = f"suspect {self.name!r}", surroundings
        if used.code:
            surroundings.on_code = used.check_listed
            used.check_listed(surroundings.code)
        return suspect


class _Fields:
    """The fields of a file; a field that no maker takes is an error."""

    def __init__(self, file: SuspectFile):
        self._file, self._used = file, {"kind"}
        self.code: list[pathlib.Path] = []
        self._clips = False
        self._used_code: list[pathlib.Path] = []

    def text(self, name: str) -> str:
        """Take a text that must be there."""
        value = self.get(name)
        if not isinstance(value, str) or not value:
            raise CaseError(
                f"{self._file.path} must name {name!r} for kind {self._file.kind!r}, "
                f"got {value!r}"
            )
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Take a field that may be there."""
        self._used.add(name)
        return self._file.fields.get(name, default)

    def table(self, name: str) -> dict[str, Any]:
        """Take a table that may be there."""
        value = self.get(name, {})
        return dict(_check.is_instance(dict, **{name: value}))

    def options(self) -> dict[str, Any]:
        """Take the options of an adapter that runs the model itself."""
        options = self.table("options")
        self._clips = _check.is_instance(bool, clip=options.pop("clip", False))
        return options

    def clipped(self, suspect: Suspect) -> Suspect:
        """Return the suspect as the option `clip` says."""
        return suspect.clipped() if self._clips else suspect

    def beside(self, name: str) -> pathlib.Path:
        """Take a path that is relative to the file."""
        return path_beside(self._file.path, self.text(name))

    def declaration(self, **defaults: Any) -> Declaration:
        """Take the declaration."""
        return Declaration.from_json({**defaults, **self.table("declaration")})

    def declaration_of_file(self, **defaults: Any) -> Declaration:
        """Take the declaration of a model whose identity is the digest of its file.

        It must name no identity: that would replace the digest, and the file could be exchanged
        after it was declared.
        """
        declaration = self.declaration(**defaults)
        if declaration.identity:
            raise CaseError(
                f"{self._file.path} must name no identity for kind {self._file.kind!r}: it is "
                "computed from the model"
            )
        return declaration

    def function(self, name: str) -> tuple[Callable, str]:
        """Load a function from "file.py:name"; return its identity with the files too."""
        path, attribute = self._place_of(name)
        function, identity, self._used_code = load_function(path, attribute)
        listed = self.files()
        for file in listed:
            identity += f" {file.name} {file_digest(file)}"
        self.code += [path, *listed]
        return function, identity

    def code_folder(self) -> pathlib.Path | None:
        """Return the folder of the file of a function or module; None if there is none."""
        for name in ("function", "module"):
            if isinstance(self._file.fields.get(name), str):
                return self._place_of(name)[0].parent
        return None

    def _place_of(self, name: str) -> tuple[pathlib.Path, str]:
        text = self.text(name)
        file, _, attribute = text.rpartition(":")
        if not file or not attribute.isidentifier():
            raise CaseError(f"{self._file.path}: {name} must be 'file.py:name', got {text!r}")
        return path_beside(self._file.path, file), attribute

    def check_listed(self, used: set[pathlib.Path]) -> None:
        """Warn of code that is used and not listed."""
        warn_of_unlisted(self._file.path, {*used, *self._used_code}, self.code)

    def files(self) -> list[pathlib.Path]:
        """Take further files that the model consists of, relative to the file."""
        names = self.get("files", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CaseError(
                f"{self._file.path}: files must be a list of file names, got {names!r:.60}"
            )
        return [path_beside(self._file.path, name) for name in names]

    def refuse_unused(self) -> None:
        unused = sorted(set(self._file.fields) - self._used)
        if unused:
            raise CaseError(
                f"{self._file.path} has a field {unused[0]!r} that kind {self._file.kind!r} "
                f"does not know; it knows {', '.join(sorted(self._used))}"
            )


def path_beside(file: pathlib.Path, name: str) -> pathlib.Path:
    """Return the path that a suspect's file names, relative to the file."""
    return file.parent / os.path.expanduser(name)


MakerFn = Callable[[_Fields], Suspect]


def _onnx(fields: _Fields) -> Suspect:
    path, declaration = fields.beside("file"), fields.declaration_of_file()
    return OnnxSuspect(path, declaration, **fields.options())


def _torch(fields: _Fields) -> Suspect:
    declaration = fields.declaration_of_file()
    return _torch_network(fields, declaration, fields.options())


def _torch_network(
    fields: _Fields, declaration: Declaration, options: dict[str, Any]
) -> TorchSuspect:
    path = fields.beside("file")
    if fields.get("module") is None:
        return TorchSuspect.from_script(path, declaration, **options)
    make, code = fields.function("module")
    module = called(fields.code[0], make)
    return TorchSuspect.from_weights(path, module, declaration, code=code, **options)


def _keras(fields: _Fields) -> Suspect:
    path, declaration = fields.beside("file"), fields.declaration_of_file()
    return KerasSuspect.from_file(path, declaration, **fields.options())


def _recorded(fields: _Fields) -> Suspect:
    return RecordedSuspect.load(fields.beside("file"), bind_file=True)


def _callable(fields: _Fields) -> Suspect:
    function, identity = fields.function("function")
    declaration, options = fields.declaration_of_file(), fields.options()
    return CallableSuspect(function, declaration, identity=identity, **options)


def _denoiser(fields: _Fields) -> Suspect:
    """Open a diffusion model: a network of PyTorch, or a function, with its scheduler."""
    known, options = {"answer": "error", "value_range": "signed"}, fields.table("options")
    together = options.pop("together", None)
    if fields.get("function") is not None:
        declaration = fields.declaration_of_file(**known)
        predict, identity = fields.function("function")
        if options:
            raise CaseError(
                f"options of a function must be together, got {next(iter(options))!r}"
            )
    else:
        declaration = fields.declaration_of_file(**known, layout="NCHW")
        path = fields.beside("file")
        if path.is_dir():
            network = open_diffusers(path, declaration, **options)
        else:
            network = _torch_network(fields, declaration, options)
        predict, identity = network.outputs, network.declaration.identity
    return DenoisingSuspect(
        predict,
        NoiseSchedule.load(fields.beside("scheduler")),
        declaration,
        identity=identity,
        together=together,
        **fields.table("denoising"),
    )


def _http(fields: _Fields) -> Suspect:
    headers = {}
    for header, variable in fields.table("headers_from_env").items():
        if not isinstance(variable, str) or variable not in os.environ:
            # An unusual name may be the secret itself, written into the file.
            is_name = isinstance(variable, str) and re.fullmatch("[A-Z_][A-Z0-9_]*", variable)
            named = variable if is_name else "(its name is not shown)"
            raise CaseError(f"the environment variable {named} for header {header} is not set")
        headers[header] = os.environ[variable]
    request, answer = fields.table("request"), fields.table("answer")
    return HttpSuspect(
        fields.text("url"),
        fields.declaration(),
        request=RequestTemplate(**request) if request else None,
        answer=AnswerTemplate(**answer) if answer else None,
        headers=headers,
        options=HttpOptions(**fields.table("options")),
    )


MAKERS: dict[str, MakerFn] = {
    "onnx": _onnx,
    "torch": _torch,
    "keras": _keras,
    "http": _http,
    "recorded": _recorded,
    "callable": _callable,
    "denoiser": _denoiser,
}


def digest_of_model(
    path: pathlib.Path, makers: Mapping[str, MakerFn], denoising: Denoising | None = None
) -> str:
    """Open the model that a file describes; return its digest, as in `keys.Plan.references`.

    Args:
      path: of the file.
      makers: further kinds, by name.
      denoising: what a diffusion model must be asked for; None for anything.

    Raises:
      CaseError: as `SuspectFile.open`; a diffusion model that is asked for another error.
    """
    suspect = SuspectFile.load(path).open(makers)
    digest = suspect.declaration.digest
    if denoising is not None and isinstance(suspect, DenoisingSuspect):
        planned = suspect.planned_choice(denoising)
        if suspect.choice != planned:
            raise CaseError(
                f"{path} must ask for the denoising error that the plan fixes, {planned}; got "
                f"{suspect.choice}: leave its table [denoising] out"
            )
    if hasattr(suspect, "close"):
        suspect.close()
    return digest
