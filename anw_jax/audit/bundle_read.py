"""Read an evidence bundle: unpack it, check every digest, and replay the case in it."""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from anw_jax.audit.bundle import NAMELESS, nameless_bytes, names_of_members
from anw_jax.audit.bundle_write import FORMAT, INDEX, REPORT, index_bytes
from anw_jax.audit.bundle_zip import unpack
from anw_jax.audit.case import Case, Owner, is_case_of_models
from anw_jax.audit.files import digest_of, read_bytes, read_json
from anw_jax.audit.labels import LABELS, LABELS_MAP, read_labels
from anw_jax.audit.originals import Originals
from anw_jax.audit.published import COMMITMENT, MANIFEST, Published, read_commitment
from anw_jax.audit.recorded import keys_file, read_keys
from anw_jax.audit.stamps import ANCHORS, files_of
from anw_jax.errors import AnwError, CaseError, ChangedFileError
from anw_jax.keys import Manifest, MarkKey, SignatureSpace
from anw_jax.keys.digests import is_digest

# A zip entry that holds the name, header and gaps of one array, at most.
_PER_ARRAY = 4096


class NamelessManifest(Manifest):
    """A manifest whose names are digests: its own digest is stated, not computed."""

    digest = ""

    @classmethod
    def from_bytes(cls, body: Mapping[str, Any]) -> "NamelessManifest":
        """Read the parsed result of `nameless_bytes`.

        Raises:
          ValueError, TypeError, KeyError: it is damaged.
        """
        rows = body["images"]
        columns = [tuple(r[f] for r in rows) for f in ("sha256", "file", "unit")]
        files = tuple(row["file_sha256"] for row in rows)
        if not all(map(is_digest, (*columns[1], body["digest"]))):
            raise ValueError("digest and file must be 64 lower-case hex digits")
        manifest = cls(*columns, SignatureSpace(body["num_slots"]), body["scheme"], files)
        object.__setattr__(manifest, "digest", body["digest"])
        return manifest


class _NoPhotos:
    """The photos of an owner, which are not in the bundle."""

    def __init__(self, num_images: int, missing: Collection[int]):
        # Photos of different sizes would be asked about separately, by the same digests.
        self.shapes = [None if n in missing else (1, 1, 3) for n in range(num_images)]


class _BundledOriginals(Originals):
    """Labels without photos; their digest is the declared one."""

    digest = ""


class BundledCase(Case):
    """A case without photos and models, as a bundle holds it.

    Args:
      path: the folder into which the bundle was unpacked.
      has_names: whether manifests have the photos' names.
    """

    def __init__(self, path: pathlib.Path, has_names: bool):
        super().__init__(path)
        self.has_names = has_names

    # Without photos and models all that a verdict is made from is checked.
    unchecked = ()

    @functools.cached_property
    def owners(self) -> dict[str, Owner]:
        """The owners by name, sorted."""
        declared = self.read("declared.json")["owners"]
        folders = {path.name for path in self.file("owners").glob("*")}
        if sorted(folders) != sorted(declared):
            raise ChangedFileError(
                f"the bundle has the owners {', '.join(sorted(folders))}, and declared.json "
                f"{', '.join(sorted(declared))}"
            )
        return {name: self._owner(name, declared[name]) for name in sorted(declared)}

    def _owner(self, name: str, said: Mapping[str, Any]) -> Owner:
        folder = self.file("owners") / name
        manifest = self._manifest(folder / MANIFEST)
        commitment, plan, named, time = read_commitment(folder / COMMITMENT, manifest)
        digests = dict(said["files"]) | {COMMITMENT: digest_of(folder / COMMITMENT)}
        if self.has_names:
            digests[MANIFEST] = digest_of(folder / MANIFEST)
        if named != digests.get(MANIFEST):
            raise ChangedFileError(
                f"{folder / COMMITMENT} names another manifest than declared.json"
            )
        published = Published(commitment, plan, manifest, None, digests, time)
        table, path = None, folder / LABELS
        if path.exists():
            own, others = folder / LABELS_MAP, self.file(LABELS_MAP)
            table = read_labels(
                path,
                manifest,
                own if own.exists() else None,
                others if others.exists() else None,
            )
        originals = _BundledOriginals(
            _NoPhotos(manifest.num_images, frozenset(said.get("missing") or ())),
            None if table is None else table.classes,
            said.get("labels_file"),
            table,
            said.get("num_redecoded") or 0,
        )
        object.__setattr__(originals, "digest", said.get("originals"))
        return Owner(name, published, originals)

    def _manifest(self, path: pathlib.Path) -> Manifest:
        try:
            if self.has_names:
                return Manifest.from_json(read_bytes(path).decode())
            return NamelessManifest.from_bytes(read_json(path, NAMELESS))
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, CaseError):
                raise
            raise CaseError(f"{path} is damaged: {error!s:.120}") from None

    def asked(self, model: str, like: str | None, views: int) -> list[np.ndarray]:
        """Return the digests of the pictures a model was asked about, for each owner."""
        keys = []
        for name, owner in self.owners.items():
            path, manifest = self.file(keys_file(model, like, name)), owner.published.manifest
            shape = manifest.num_images, manifest.space.num_slots, views, 32
            keys.append(read_keys(path, read_bytes(path), shape))
        return keys

    def names_of_members(self) -> set[str]:
        """Return the members that the bundle of this case has."""
        return names_of_members(self, self.has_names)

    @property
    def most_bytes(self) -> int:
        """Bytes that the sealed tables of a suspect have at most."""
        manifests = [owner.published.manifest for owner in self.owners.values()]
        return sum(4 * m.num_images * m.space.num_slots + _PER_ARRAY for m in manifests)


class CaseOfBundle(Protocol):
    """What a case must tell to be read from a bundle."""

    path: pathlib.Path
    has_names: bool

    @property
    def unchecked(self) -> Sequence[str]:
        """What a verdict rests on and only the case can show."""

    def names_of_members(self) -> set[str]:
        """Return the members that the bundle of this case has."""

    @property
    def most_bytes(self) -> int:
        """Bytes that the sealed arrays of a suspect have at most."""


@dataclasses.dataclass(frozen=True)
class OpenBundle:
    """An unpacked bundle whose digests all fit.

    Attributes:
      case: in it, a `CaseOfBundle`.
      mark_keys: the opened keys, by owner; {} in sequential mode.
      report: the text of `report.txt`.
    """

    case: Any
    mark_keys: dict[str, MarkKey]
    report: str


@contextlib.contextmanager
def open_bundle(
    path: pathlib.Path, of_models: Callable[[pathlib.Path], CaseOfBundle] | None = None
) -> Iterator[OpenBundle]:
    """Unpack a bundle into a temporary folder, and check every member's digest.

    Errors raised while it is open name the bundle instead of that folder.

    Args:
      path: the zip file.
      of_models: from the folder to the `CaseOfBundle` of a case of models; by default such a
        bundle is refused.

    Raises:
      CaseError: not a bundle, or damaged.
      ChangedFileError: a member is not the one that `bundle.json` names.
    """
    with tempfile.TemporaryDirectory(prefix="anw-bundle-") as temporary:
        folder = pathlib.Path(temporary).absolute()
        try:
            found = unpack(path, folder)
            has_names = _check_index(folder, found)
            case: Any = BundledCase(folder, has_names)
            if of_models is not None and is_case_of_models(folder):
                case = of_models(folder)
            if case.has_names != has_names:
                raise CaseError(f"{folder / INDEX} is damaged: has_names")
            _check_arrays(case)
            keys = sorted(folder.glob("keys/*.key"))
            mark_keys = {key.stem: MarkKey.load(key) for key in keys}
            report = read_bytes(folder / REPORT).decode("utf-8", "replace")
            _check_members(case, found)
            yield OpenBundle(case, mark_keys, report)
        except AnwError as error:
            text = str(error).replace(f"{folder}/", f"{path}: ").replace(str(folder), str(path))
            raise type(error)(text) from None
        except RecursionError:
            raise CaseError(f"{path} holds JSON that is nested too deep") from None


def check_manifest(case: BundledCase, owner: str, path: pathlib.Path) -> None:
    """Check that the photos of a bundle without names are those of the owner's manifest.

    Raises:
      CaseError: the file cannot be read, or is no manifest.
      ChangedFileError: they are not.
    """
    try:
        manifest = Manifest.from_json(read_bytes(path).decode())
    except ValueError as error:
        raise CaseError(f"{path} is no manifest: {error!s:.120}") from None
    if nameless_bytes(manifest) != read_bytes(case.file("owners") / owner / MANIFEST):
        raise ChangedFileError(
            f"owners/{owner}/{MANIFEST} of the bundle is not {path} without its names"
        )


def use_anchors(case: Case, paths: Iterable[pathlib.Path]) -> None:
    """Verify the time stamps of a bundle against these files alone, not against its own.

    Raises:
      CaseError: a file cannot be read.
    """
    folder = case.file(ANCHORS)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, path in enumerate(files_of(paths)):
        (folder / str(number)).write_bytes(read_bytes(path))


def _check_index(folder: pathlib.Path, found: Mapping[str, str]) -> bool:
    """Compare all members with `bundle.json`; return whether the bundle has names."""
    if INDEX not in found:
        raise CaseError(f"the bundle has no {INDEX}")
    body = read_json(folder / INDEX, FORMAT)
    try:
        files, has_names = dict(body["files"]), body["has_names"]
        is_same = index_bytes(body) == read_bytes(folder / INDEX)
    except (KeyError, TypeError, ValueError):
        raise CaseError(f"{folder / INDEX} is damaged") from None
    if not is_same or type(has_names) is not bool:
        raise ChangedFileError(f"{folder / INDEX} was changed (its own SHA-256 differs)")
    for name in sorted({*found, *files} - {INDEX}):
        if name not in found:
            raise ChangedFileError(f"{INDEX} names {name}, which is not in the bundle")
        if name not in files:
            raise ChangedFileError(f"the bundle has {name}, which {INDEX} does not name")
        if files[name] != found[name]:
            raise ChangedFileError(
                f"{folder / name} was changed after {INDEX} named it (its SHA-256 differs)"
            )
    return has_names


def _check_members(case: CaseOfBundle, found: Iterable[str]) -> None:
    """Refuse members that the bundle of such a case does not have, whatever reads them."""
    unknown = sorted({*found} - case.names_of_members())
    if unknown:
        raise ChangedFileError(
            f"{case.path / unknown[0]} belongs to no bundle of such a case: it was added"
        )


def _check_arrays(case: CaseOfBundle) -> None:
    """Refuse arrays that would expand to more than the case's owners need."""
    for path in sorted(case.path.rglob("*.npz")):
        try:
            with zipfile.ZipFile(path) as stored:
                size = sum(entry.file_size for entry in stored.infolist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise CaseError(f"{path} is no .npz file") from None
        if size > case.most_bytes:
            raise CaseError(
                f"{path} would expand to {size:,} bytes, and its arrays have "
                f"{case.most_bytes:,} at most"
            )
