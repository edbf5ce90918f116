"""The owner's two steps in one call, as most tests need them."""

import pathlib
import types

from anw_jax import audit
from anw_jax.keys import MarkKey, Plan


def saving_choices(saving: tuple[int, int] | None) -> dict:
    """The choices that put a coarse-to-fine rule into a plan."""
    return {} if saving is None else {"save_queries": (saving[0],), "best": saving[1]}


def choices_of(plan: Plan, **more) -> audit.Choices:
    """What makes a plan, as an owner gives it."""
    names = ("statistic", "alpha", "mode", "claim", "beacon", "place")
    fields = {name: getattr(plan, name) for name in names}
    # The photos of these tests are smaller than the cells of the default mark.
    return audit.Choices(**{"mark": "hue", **fields, **more})


def mark_folder(
    photos: pathlib.Path,
    key: MarkKey,
    out: pathlib.Path,
    plan: Plan,
    *,
    beacon: bytes = b"",
    labels: pathlib.Path | None = None,
    labels_map: pathlib.Path | None = None,
    on_progress=lambda done, total: None,
    encoding=None,
    **more,
) -> types.SimpleNamespace:
    """Commits, and marks where no beacon is waited for; what both said in one."""
    key_file = _key_file(photos.parent, key)
    done = audit.commit_folder(
        photos, key_file, out, choices_of(plan, **more), labels=labels, labels_map=labels_map,
        again=True,
    )  # fmt: skip
    said = vars(done).copy()
    if beacon or not plan.beacon:
        marked = audit.publish_folder(
            photos, key_file, out, beacon=beacon, encoding=encoding, on_progress=on_progress
        )
        numbers = {name: getattr(marked, name) for name in ("num_written", "num_unchanged")}
        said |= vars(marked) | numbers
    return types.SimpleNamespace(**said)


def _key_file(folder: pathlib.Path, key: MarkKey) -> pathlib.Path:
    for file in folder.glob("*.key"):
        if MarkKey.load(file) == key:
            return file
    file = folder / f"test{len(list(folder.glob('*.key')))}.key"
    key.save(file)
    return file
