"""The systems that a case of models can name, and how each reads a suspect.

A commitment names its system: the plan's `mark` begins with the name. A new system joins with
one entry of `SYSTEMS`; files, order, statements, seals and verdicts are those of all
(`schemes.case`, `schemes.judging`).
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from anw_jax.audit.suspect_file import SuspectFile, path_beside
from anw_jax.errors import AnwError, CaseError
from anw_jax.keys import Plan
from anw_jax.keys.plan_fields import BARRIER, FINGERPRINT, MULTITASK
from anw_jax.schemes import barrier, copies, fingerprint, multitask, outputs
from anw_jax.schemes.scheme import Decoder, TapsFn, Tested
from anw_jax.schemes.weights import (
    BASE_NAMES,
    Network,
    network_digest,
    open_base,
    open_network,
    settings_digest,
    weights_digest,
)


@dataclasses.dataclass(frozen=True)
class OpenModel:
    """A suspect that can be read.

    Attributes:
      digest: 64 hex digits that change if the model does.
      model: what the system's reader takes.
    """

    digest: str
    model: Any


@dataclasses.dataclass(frozen=True)
class System:
    """How the case commands read the marks of one system.

    Attributes:
      decoder_from_json: reads what the owner hands over as `decoder`.
      open_own: from the decoder, the plan and the owner's folder to what else the reader needs,
        checked against both; raises CommitmentError or CaseError.
      open_suspect: opens the model that a suspect's file describes.
      problems: `(decoder, own, model) -> (errors, warnings)`, one sentence each: may the model
        be read? It must use no bits, and need not read a score.
      extract: `(decoder, own, model) -> float64 [num_bits]`, the scheme's `extract`; raises
        ValueError for a model that cannot be read.
      trace: `(decoder, own, plan, scores, key, beacon, factor) -> Tested`, in the place of the
        test of one vector of bits, for a system that says whose copy it is; `factor` is what
        the level is divided by.
      fixed: from `own` to what `declared.json` fixes of it beside the decoder.
      least_found: from `own` to how many commitments the owner's files show.
      files: names in the owner's folder that `open_own` and the test read.
      kept: from the owner's folder to the files that a bundle holds beside the decoder.
      open_kept: `open_own` where only these are there, for the test alone.
      elsewhere: what else is needed to read the scores again, in words.
      unchecked: what the test checks with it, and a bundle cannot show; "" for nothing.
    """

    decoder_from_json: Callable[[dict[str, Any]], Decoder]
    open_own: Callable[[Any, Plan, pathlib.Path], Any]
    open_suspect: Callable[[SuspectFile], OpenModel]
    problems: Callable[[Any, Any, Any], tuple[list[str], list[str]]]
    extract: Callable[[Any, Any, Any], np.ndarray]
    trace: Callable[..., Tested] | None = None
    fixed: Callable[[Any], dict[str, str]] = lambda own: {}
    least_found: Callable[[Any], int] = lambda own: 1
    files: tuple[str, ...] = BASE_NAMES
    kept: Callable[[pathlib.Path], list[pathlib.Path]] = lambda folder: []
    open_kept: Callable[[Any, Plan, pathlib.Path], Any] = lambda decoder, plan, folder: None
    elsewhere: str = "base.npz, the clean model w0, and the suspects' networks"
    unchecked: str = ""


def system_of(plan: Plan) -> System:
    """Return the system that a commitment's plan names.

    Raises:
      CaseError: the plan of marked photos, or of an unknown system.
    """
    name = plan.mark.partition(":")[0]
    if name not in SYSTEMS:
        raise CaseError(
            f"the plan must name a watermark in models, one of {', '.join(SYSTEMS)}, got "
            f"{plan.mark!r:.60}"
        )
    return SYSTEMS[name]


def open_network_suspect(file: SuspectFile) -> OpenModel:
    """Open a suspect whose weights are there: `kind = "network"` and `file`.

    Raises:
      CaseError: another kind, a field too many, or no such file.
    """
    if file.kind != "network":
        raise CaseError(
            f"{file.path}: kind must be 'network' for a watermark that is read from weights, "
            f"got {file.kind!r:.40}"
        )
    if set(file.fields) != {"kind", "file"} or not isinstance(file.fields["file"], str):
        raise CaseError(
            f"{file.path} must have the fields kind and file and no others, got "
            f"{', '.join(sorted(file.fields))}"
        )
    network = open_network(path_beside(file.path, file.fields["file"]))
    return OpenModel(network_digest(network), network)


def _open_clean(decoder: multitask.Decoder, plan: Plan, folder: pathlib.Path) -> Network:
    network = open_base(folder)
    decoder.check_base(weights_digest(network[1]))
    decoder.check_settings(settings_digest(network[0]))
    return network


def _problems(
    decoder: multitask.Decoder, base: Network, suspect: Network
) -> tuple[list[str], list[str]]:
    if weights_digest(suspect[1]) == decoder.base:
        return ["it is the clean model from before the bits, which holds none of them"], []
    try:
        found = multitask.check_readable(decoder, *_tapped(decoder, base, suspect))
    except (ValueError, AnwError) as error:
        return [str(error)], []
    total = decoder.num_probes
    if found.num_usable < 2:
        return [f"it answers {found.num_usable} of {total} probes with finite values"], []
    warnings = []
    if found.num_usable < total:
        warnings.append(
            f"it answers {total - found.num_usable} of {total} probes with values that are not "
            "finite, and is aligned by the others"
        )
    if found.tap_too_wide:
        warnings.append(
            f"the tap {found.tap_too_wide!r} has more channels than the probes can align: its "
            "scores are noise, and a copy may be missed"
        )
    return [], warnings


def _extract(decoder: multitask.Decoder, base: Network, suspect: Network) -> np.ndarray:
    return multitask.extract(decoder, *_tapped(decoder, base, suspect))


def _tapped(decoder: multitask.Decoder, *networks: Network) -> list[TapsFn]:
    return [multitask.tapped(*network, decoder.taps) for network in networks]


def open_outputs_suspect(file: SuspectFile) -> OpenModel:
    """Open a suspect whose outputs are read; see `outputs.open_outputs`."""
    found = outputs.open_outputs(file)
    return OpenModel(found.digest, found)


SYSTEMS = {
    FINGERPRINT: System(
        decoder_from_json=fingerprint.Carrier.from_json,
        open_own=copies.open_copies,
        open_suspect=open_network_suspect,
        problems=copies.problems,
        extract=copies.extract_all,
        trace=copies.trace_copies,
        fixed=copies.fixed,
        least_found=copies.least_found,
        files=(*BASE_NAMES, copies.LOG, copies.COPIES),
        kept=copies.log_files,
        open_kept=copies.read_issues,
        elsewhere="base.npz, the clean model, copies/, and the suspects' networks",
        unchecked="codes in the accepted copies",
    ),
    BARRIER: System(
        decoder_from_json=barrier.Head.from_json,
        open_own=outputs.open_barrier,
        open_suspect=open_outputs_suspect,
        problems=outputs.problems,
        extract=outputs.read_outputs,
        files=("decoder.npz",),
        elsewhere="decoder.npz, queries and own outputs, and the suspects' answers",
    ),
    MULTITASK: System(
        decoder_from_json=multitask.Decoder.from_json,
        open_own=_open_clean,
        open_suspect=open_network_suspect,
        problems=_problems,
        extract=_extract,
    ),
}
