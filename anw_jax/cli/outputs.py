"""Marks in a model's outputs: `anw model barrier | protect`."""

import contextlib
import hashlib
import math
import pathlib
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import click
import numpy as np

from anw_jax import _files, _json
from anw_jax.cli.options import (
    beacon_option,
    json_option,
    parse_beacon_value,
    value_option,
)
from anw_jax.cli.output import show
from anw_jax.cli.owner_format import beacon_line, value_word
from anw_jax.errors import CaseError, CommitmentError
from anw_jax.keys import MarkKey, check_scheme_commitment, commit_scheme

_PATH = click.Path(path_type=pathlib.Path)
_MARK, _KEY, _DECODER = "mark.json", "mark.key", "decoder.npz"
_GREY = (
    "warning: the outputs of --public are grey, and the mark puts colour into them: "
    "whoever makes them grey again removes most of it"
)


def _by_family(_context, option, given: tuple[str, ...]) -> dict[str, int]:
    """Read FAMILY=NUMBER of each family."""
    bits: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise click.BadParameter(f"must be FAMILY=NUMBER, got {text!r}")
        if name in bits:
            raise click.BadParameter(
                f"is given twice for {name!r}: {bits[name]} and {number}; give each family once"
            )
        bits[name] = int(number)
    return bits


@click.command(short_help="Create the key of a mark in a model's outputs, and commit to it.")
@click.argument("folder", type=_PATH)
@click.option("--base", required=True, type=_PATH, help="File of the model, or of its code.")
@click.option("--queries", required=True, type=_PATH, help="Folder of inputs to ask later.")
@click.option("--outputs", required=True, type=_PATH, help="The model's outputs for them.")
@click.option("--public", required=True, type=_PATH, help="Its outputs for public inputs.")
@beacon_option
@click.option(
    "--bits",
    multiple=True,
    callback=_by_family,
    metavar="FAMILY=NUMBER",
    help="Bits of a family of filters, for outputs that excite fewer; once for each family.",
)
@click.option("--alpha", default=1e-6, show_default=True, help="Level of the test.")
@json_option
def barrier(folder, base, queries, outputs, public, beacon, bits, alpha, as_json) -> None:
    """Write key, decoder and plan to the new FOLDER, and print the commitment.

    Do this before the beacon's value appears, and have the commitment time-stamped. Queries and
    outputs have the same file names and one size; no query may be a marked output, or be made
    from one. Keep FOLDER secret.

    \b
    Example:
      anw model barrier mark --base denoiser.onnx --queries asked --outputs answered \\
        --public public
    """
    from anw_jax import schemes
    from anw_jax.schemes.case import ModelMark

    if folder.exists():
        raise FileExistsError(f"{folder} already exists: keys are never overwritten")
    names, asked = _images(queries)
    answered_names, answered = _images(outputs)
    if names != answered_names:
        raise CaseError(f"{queries} and {outputs} must hold files of the same names")
    if np.array_equal(asked, answered):
        raise CaseError(
            f"{queries} and {outputs} hold the same images: --outputs must hold the model's "
            "answers to the queries"
        )
    published = _images(public)[1]
    decoder = schemes.barrier.make_decoder(
        _digest(base), asked, answered, published, **({"bits": bits} if bits else {})
    )
    plan = schemes.plan_of(decoder, alpha=alpha, beacon=beacon)
    key = MarkKey.generate()
    commitment = commit_scheme(key, plan)
    mark = ModelMark(plan, commitment, decoder.head.as_json())
    with _files.new_folder(folder) as whole:
        key.save(whole / _KEY)
        schemes.barrier.save_decoder(whole / _DECODER, decoder)
        _json.write(whole / _MARK, mark.as_json())
    lines = [
        f"commitment: {commitment}",
        f"{decoder.num_bits} bits, to be read from {len(decoder.queries)} answers",
        *_too_few(decoder.num_bits, alpha),
        *([_GREY] * schemes.barrier.is_grey(published)),
        f"keep {folder} secret",
        f"have the commitment stamped before the beacon's value appears: anw stamp {folder}",
        beacon_line(beacon),
        f"then: anw model protect {folder} --beacon-value {value_word(beacon)} "
        "--outputs UNMARKED --out SERVED",
    ]
    show(as_json, {"commitment": commitment, "mark": decoder.mark}, lines)


def _address(_context, _option, text: str | None) -> tuple[str, int] | None:
    """Read [HOST:]PORT."""
    if text is None:
        return None
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]:|([^][:]+):)?([0-9]{1,5})", text)
    if not found or int(found[3]) >= 2**16:
        raise click.BadParameter(
            f"must be [HOST:]PORT, such as 8080, or [IPV6]:PORT, got {text!r}"
        )
    return found[1] or found[2] or "127.0.0.1", int(found[3])


@click.command(short_help="Mark a folder of a model's outputs, or serve the model with them.")
@click.argument("folder", type=_PATH)
@click.option("--outputs", type=_PATH, help="Folder of unmarked outputs.")
@click.option("--out", type=_PATH, help="New folder, for marked PNG files.")
@click.option("--model", type=_PATH, help="File that says how the model is asked.")
@click.option(
    "--serve",
    metavar="[HOST:]PORT",
    callback=_address,
    help="Address to listen at; HOST is 127.0.0.1 unless given.",
)
@value_option
@click.option("--psnr", default=38.5, show_default=True, help="Strength in dB; less is more.")
@click.option("--base", type=_PATH, help="File of the model, to be compared.")
@json_option
def protect(folder, outputs, out, model, serve, beacon_value, psnr, base, as_json) -> None:
    """Mark images with the bits of FOLDER's key: files in a folder, or what a model answers.

    With --outputs and --out the marked images are written as PNG. With --model and --serve each
    PNG that is posted to the address is answered with the model's output for it, marked: the
    same bytes as in a file. The model's file is like that of a suspect, with answer = "image".
    There are no accounts and no TLS: for others than you, put a web server in front. Ctrl-C or
    SIGTERM ends it.

    Serve marked images, and never unmarked ones. With --base a model that was changed since the
    commitment is refused: suspects are compared with what the committed one answers. With
    --model it is also asked some of the committed queries.

    \b
    Examples:
      anw model protect mark --beacon-value pulse.json --outputs restored --out served
      anw model protect mark --beacon-value pulse.json --model denoiser.toml --serve 8080
    """
    given = [one is not None for one in (outputs, out, model, serve)]
    if given not in ([True, True, False, False], [False, False, True, True]):
        raise click.UsageError(
            "give --outputs and --out to mark a folder, or --model and --serve to serve a model"
        )
    if out is not None and out.exists():
        raise FileExistsError(f"{out} already exists: it is never overwritten")
    decoder, kernel = _kernel(folder, beacon_value, psnr, base)
    if model is not None:
        counts = _serve(model, decoder, kernel, serve)
        lines = [
            f"{counts['served']} marked images served; {counts['refused']} requests refused, "
            f"{counts['failed']} without an answer from the model"
        ]
        return show(as_json, counts, lines)
    number, reached = _mark_files(outputs, out, kernel)
    lines = [
        f"{number} images marked at {reached:.1f} dB: {out}",
        "serve these, never the unmarked ones",
        f"if a copy appears: give an arbitrator {folder / _MARK} and {folder / _DECODER}, and "
        "the key only when the verdict is due (docs/output_watermarks.md, A case)",
    ]
    show(as_json, {"images": number, "psnr": reached}, lines)


def _kernel(
    folder: pathlib.Path, beacon_value: str, psnr: float, base: pathlib.Path | None
) -> tuple[Any, np.ndarray]:
    """Return the committed decoder, and the secret kernel that marks."""
    from anw_jax import schemes
    from anw_jax.schemes.case import ModelMark

    mark, key = ModelMark.load(folder / _MARK), MarkKey.load(folder / _KEY)
    check_scheme_commitment(mark.commitment, key, mark.plan)
    decoder = schemes.barrier.load_decoder(folder / _DECODER)
    if base is not None and (found := _digest(base)) != decoder.base:
        raise CommitmentError(
            f"{base} is not the committed model, {decoder.base[:16]}…, but {found[:16]}…: it "
            "was changed since the commitment; serve the committed one, or make a new mark"
        )
    value = parse_beacon_value(mark.plan, beacon_value)
    bits = schemes.keygen(key, decoder, mark.plan, beacon=value)
    return decoder, schemes.barrier.keyed_kernel(decoder, bits, psnr)


def _mark_files(
    outputs: pathlib.Path, out: pathlib.Path, kernel: np.ndarray
) -> tuple[int, float]:
    """Mark the images of a folder; return their number, and the PSNR."""
    from anw_jax import data, schemes

    paths = data.list_photos(outputs)
    names = [path.relative_to(outputs).with_suffix(".png") for path in paths]
    if len(set(names)) < len(names):
        raise CaseError(f"{outputs} holds files that differ in their endings alone")
    squares = 0.0
    with _files.new_folder(out) as whole:
        for path, name in zip(paths, names, strict=True):
            image = data.read_photo(path)
            marked = schemes.barrier.protect(kernel, image[None])[0]
            squares += np.square((marked.astype(np.float64) - image) / 255.0).mean()
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            (whole / name).write_bytes(data.png_of(marked))
    return len(paths), float(-10.0 * np.log10(max(squares / len(paths), 1e-12)))


def _serve(
    model: pathlib.Path, decoder: Any, kernel: np.ndarray, address: tuple[str, int]
) -> dict[str, int]:
    """Serve a model with marked outputs until Ctrl-C or SIGTERM; return numbers of requests."""
    from anw_jax.audit.declare import close
    from anw_jax.audit.suspect_file import SuspectFile
    from anw_jax.cli.serving import MarkingServer
    from anw_jax.schemes.outputs import check_own_model

    asked = SuspectFile.load(model).open(images=True)
    try:
        check_own_model(decoder, asked)
        with MarkingServer(asked, kernel, *address) as server:
            with contextlib.suppress(KeyboardInterrupt), _sigterm_as_ctrl_c():
                click.echo(f"post PNG files to {server.address}; Ctrl-C ends", file=sys.stderr)
                server.serve_forever()
            server.finish()
            return dict(server.counts)
    finally:
        close(asked)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, which service managers send, raise KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _too_few(num_bits: int, alpha: float) -> list[str]:
    """Warn if the level is out of reach even where all bits match."""
    needed = math.ceil(-math.log2(alpha))
    if num_bits >= needed:
        return []
    return [f"warning: {num_bits} bits cannot reach the level {alpha:g}, which takes {needed}"]


def _digest(base: pathlib.Path) -> str:
    if not base.is_file():
        raise CaseError(f"{base} is not there, or is no file: --base names the model's file")
    return hashlib.sha256(_files.read_regular(base, 2**36)).hexdigest()


def _images(folder: pathlib.Path) -> tuple[list[str], np.ndarray]:
    """Read images of one size, with their names without endings."""
    from anw_jax import data

    paths = data.list_photos(folder)
    images = [data.read_photo(path) for path in paths]
    if len({image.shape for image in images}) > 1:
        raise CaseError(f"the images in {folder} must have one size")
    return [str(path.relative_to(folder).with_suffix("")) for path in paths], np.array(images)
