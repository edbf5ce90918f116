"""A run with the paper's own system: barrier, extractor, proxies, copies, and what R draws.

Stage 1 trains barrier and extractor, proxy copies are trained on what they serve, stage 2 tunes
the extractor on the proxies' outputs, and every copy is read by the extractor of both stages. A
copy is a file of its own, so that the same command resumes.

**A baseline, never evidence**: see `schemes.barrier.pictures`. No result has a p or an outcome.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from anw_jax import data, train
from anw_jax.errors import SettingsError
from anw_jax.lab import copies, restoration
from anw_jax.lab.barrier_settings import CopySettings
from anw_jax.lab.copies import CopiesRun
from anw_jax.lab.journal import Journal, stop_on_interrupt
from anw_jax.lab.picture_settings import PictureSettings
from anw_jax.lab.workdir import Workdir
from anw_jax.schemes.barrier import ImagesFn, ask, images_digest, pictures
from anw_jax.schemes.barrier.changes import levels
from anw_jax.schemes.barrier.pictures import PictureReading, Triples

# Photos that the report shows.
_SHOWN = 6

# The second owner's barrier, for copies of his outputs and for overwriting.
_ANOTHER = 1


@dataclasses.dataclass(frozen=True, eq=False)
class _Reader:
    """The extractor of one stage, with a classifier of what it draws."""

    params: Any
    classifier: Any


@dataclasses.dataclass(frozen=True, eq=False)
class _System:
    """The trained system, and what it reads with: the extractors by stage."""

    run: CopiesRun
    marks: np.ndarray
    params: Any
    own: ImagesFn
    readers: dict[str, _Reader]

    def serve(self, inputs: np.ndarray, number: int = 0) -> np.ndarray:
        """Return what is served for inputs, with a mark."""
        nets, mark = self.run.settings.nets, self.marks[number]
        return pictures.serve(nets, self.params, mark, inputs, self.own(inputs))

    def drawn(self, stage: str, images: np.ndarray) -> np.ndarray:
        """Return the pictures that the extractor of a stage draws."""
        return pictures.draw(self.run.settings.nets, self.readers[stage].params, images)

    def read(self, images: np.ndarray, number: int = 0) -> dict[str, dict[str, float]]:
        """Return NC, SR and the classifier's decisions for a mark, by stage."""
        found = {}
        for stage, reader in self.readers.items():
            drawn = self.drawn(stage, images)
            correlations = pictures.normalised_correlation(drawn, self.marks[number])
            decided = pictures.share_of_mark(reader.classifier, drawn, number, len(self.marks))
            reading = PictureReading(correlations, decided)
            found[stage] = {
                "nc_mean": float(correlations.mean()),
                "success_rate": reading.success_rate,
                "decided": decided,
            }
        return found


def measure(settings: PictureSettings, folder: Workdir, journal: Journal) -> dict[str, Any]:
    """Train the system and copies of its outputs, and read them; resume from the last copy.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    clean = copies.clean_images(settings)
    with stop_on_interrupt(journal) as stop:
        run = CopiesRun(settings, folder, journal, clean, stop)
        with journal.stage("train"):
            _, own = copies.own_model(run)
        with journal.stage("barrier"):
            system = _system(run, own)
            another = functools.cache(functools.partial(_another, run, own, system.marks))
            found = _served(system)
        for name, copy in settings.copies.items():
            with journal.stage("copies"):
                make = functools.partial(_copied, system, another, name, copy)
                row = folder.once(f"cells/{name}.json", dataclasses.asdict(copy), make)
            journal.say(_line(name, row))
            found["copies"][name] = row
        return found


def _system(run: CopiesRun, own: ImagesFn) -> _System:
    """Train both stages, with the proxies between them, and a classifier for each extractor."""
    settings, marks = run.settings, _marks(run)
    digests = {
        name: images_digest(levels(mark[None]))
        for name, mark in zip(settings.pictures, marks, strict=True)
    }
    # Registers the pictures; from now on the settings of this folder are fixed.
    run.folder.write_json("commitments.json", digests)
    pairs = _pairs(run, own)
    params = _stage_1(run, marks, pairs, "barrier", settings.seed)
    first = _System(run, marks, params, own, {})
    served = [first.serve(pairs.inputs, number) for number in range(len(marks))]
    shown = _beside_proxies(run, pairs, served[0])
    result = pictures.tune_extractor(
        settings.nets,
        params,
        marks,
        train.Pairs(shown.inputs, shown.outputs),
        shown.copied,
        settings.stage_2,
        weights=settings.weights,
        seed=settings.seed,
        **run.runner("extractor"),
    )
    tuned = run.completed(result).state.params
    readers = {
        "stage_1": _reader(run, params, "stage_1", pairs, served),
        "stage_2": _reader(run, tuned, "stage_2", shown[:2], served, shown.copied),
    }
    return dataclasses.replace(first, readers=readers)


def _beside_proxies(run: CopiesRun, pairs: train.Pairs, served: np.ndarray) -> Triples:
    """Train proxies on what is served; return each pair once beside every proxy's output."""
    parts = []
    for name, proxy in run.settings.proxies.items():
        stolen = train.Pairs(pairs.inputs, served)
        variables = copies.trained(run, f"proxy.{name}", proxy, stolen)
        parts.append(Triples(*pairs, train.restore(proxy.model, variables, pairs.inputs)))
    return Triples(*map(np.concatenate, zip(*parts, strict=True)))


def _marks(run: CopiesRun) -> np.ndarray:
    """Return the marks at the size of the images.

    Raises:
      SettingsError: images of a size for which there is no such mark or network.
    """
    height, width = run.clean.own.shape[1:3]
    try:
        if height != width:
            raise ValueError(f"images must be square, got {height} x {width}")
        run.settings.nets.check_sides(height, width)
        marks = [data.mark_picture(name, height) for name in run.settings.pictures]
        return pictures.check_marks(np.stack(marks))
    except ValueError as error:
        raise SettingsError(f"data.image_size: {error}") from None


def _pairs(run: CopiesRun, own: ImagesFn) -> train.Pairs:
    """Return inputs and the outputs to mark: clean images for a model that absorbs the mark."""
    pairs = run.own_pairs()
    return pairs if run.settings.nets.absorbed else train.Pairs(pairs.inputs, own(pairs.inputs))


def _stage_1(
    run: CopiesRun, marks: np.ndarray, pairs: train.Pairs, name: str, seed: int
) -> Any:
    settings = run.settings
    result = pictures.train_barrier(
        settings.nets,
        settings.nets.init(jax.random.key(seed), pairs.inputs.shape[1:]),
        marks,
        pairs,
        settings.stage_1,
        weights=settings.weights,
        seed=seed,
        **run.runner(name),
    )
    return run.completed(result).state.params


def _reader(
    run: CopiesRun,
    params: Any,
    stage: str,
    unmarked: Sequence[np.ndarray],
    served: list[np.ndarray],
    copied: np.ndarray | None = None,
) -> _Reader:
    """Train the classifier of what an extractor draws for the owner's own images."""
    nets = run.settings.nets
    shown = [pictures.draw(nets, params, images) for images in served]
    if copied is not None:
        shown[0] = np.concatenate([shown[0], pictures.draw(nets, params, copied)])
    blank = np.concatenate([pictures.draw(nets, params, images) for images in unmarked])
    result = pictures.train_classifier(
        blank, shown, seed=run.settings.seed, **run.runner(f"classifier-{stage}")
    )
    return _Reader(params, run.completed(result).state.variables)


def _another(run: CopiesRun, own: ImagesFn, marks: np.ndarray) -> _System:
    """Train the barrier of another owner, whose picture is the mirror image of the first."""
    mirrored = np.ascontiguousarray(marks[:1, :, ::-1])
    seed = run.settings.seed + _ANOTHER
    params = _stage_1(run, mirrored, _pairs(run, own), "another", seed)
    return _System(run, mirrored, params, own, {})


def _served(system: _System) -> dict[str, Any]:
    """Measure what is served for the queries, and what is drawn for it and for clean images."""
    run = system.run
    queries = run.queries()
    outputs = system.own(queries)
    found: dict[str, Any] = {
        "own_psnr": restoration.psnr(outputs, run.clean.queries),
        "served": {},
        "clean": {"inputs": system.read(queries), "outputs": system.read(outputs)},
        "copies": {},
    }
    shown = {"outputs": outputs[:_SHOWN], "drawn_clean": _drawn(system, outputs)}
    for number, name in enumerate(run.settings.pictures):
        served = system.serve(queries, number)
        found["served"][name] = {
            **copies.visibility(outputs, served),
            "task_psnr": restoration.psnr(served, run.clean.queries),
            **system.read(served, number),
        }
        shown[f"marked_{name}"] = served[:_SHOWN]
        shown[f"drawn_{name}"] = _drawn(system, served)
    run.folder.write_arrays("examples.npz", **shown)
    return found


def _copied(
    system: _System, another: Callable[[], _System], name: str, copy: CopySettings
) -> dict[str, Any]:
    """Train one copy, and read it by both stages; keep some of what is drawn for it."""
    run = system.run

    def overwrite(inputs: np.ndarray, served: np.ndarray) -> np.ndarray:
        return dataclasses.replace(another(), own=lambda _: served).serve(inputs)

    def foreign(inputs: np.ndarray) -> np.ndarray:
        return another().serve(inputs)

    marks = copies.Marks(system.serve, foreign, overwrite, of_thief=overwrite)
    suspect = copies.copied(run, name, copy, marks)
    answers = ask(suspect, run.queries())
    shown = {"answers": answers[:_SHOWN], "drawn": _drawn(system, answers)}
    run.folder.write_arrays(f"cells/{name}.npz", **shown)
    return {"psnr": restoration.psnr(answers, run.clean.queries), **system.read(answers)}


def _drawn(system: _System, images: np.ndarray) -> np.ndarray:
    """Return what the tuned extractor draws for the first images, uint8."""
    return levels(system.drawn("stage_2", images[:_SHOWN]))


def _line(name: str, row: dict[str, Any]) -> str:
    before, after = row["stage_1"], row["stage_2"]
    return (
        f"{name:<22} {row['psnr']:5.2f} dB  NC {after['nc_mean']:.3f}  SR "
        f"{after['success_rate']:.0%}, by a classifier {after['decided']:.0%}  "
        f"(before stage 2: {before['success_rate']:.0%}, {before['decided']:.0%})"
    )
