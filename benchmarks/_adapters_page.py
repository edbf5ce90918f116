"""Make the tables of docs/adapters.md from results/adapters.json; keep the end of the page."""

from collections.abc import Iterable, Sequence
from typing import Any

from anw_jax.stats import format_log10_p, format_p
from benchmarks import _measure

PAGE = _measure.REPOSITORY / "docs" / "adapters.md"

_HEAD = """\
# One network, queried through every framework and every output format

Generated from `results/adapters.json` by `{command}`; do not
edit. The last parts, on [generators](#generators) and
[services over HTTP](#services-over-http), are written by hand.

A plain PyTorch program that knows nothing of this project (`tests/suspects/learner_torch.py`)
trained a network of three convolutions on {num_train:,} CIFAR-10 photos for {epochs} epochs.
The owner of {num_marked} of them had marked each with a hue drawn from the key, committed to
key, photos, statistic (`{statistic}`) and level ({alpha:g}), and published them as 8-bit PNG
files, which the learner then used. The arbitrator queried this one network in six ways: its
weights copied into JAX, ONNX and Keras, the TorchScript file itself, the same file behind HTTP
in another process, and recorded answers.

Every cell is a separate audit under the committed plan: a full table of {num_marked} photos
and 12 slots is queried and sealed, then the key is opened and the one declared test is run.
Cells of one seed share network, photos and key, so they are not independent, and no case may
take the best of them. Keys here come from a public seed: "experiment key, not evidence".

| name | what the test sees |
|---|---|
| logits | all scores in full |
| rounded | probabilities rounded to {decimals} decimals; over HTTP the service rounds |
| label once | one label of each marked image |
| label | one label; {label_queries} publicly seeded augmentations of each image (shift filled \
by reflection, mirror, noise of ±{noise_levels} levels); over HTTP the service returns nothing \
else |
| own labels | the network's top label on the unmarked original, not the true label |
"""

_CELLS = """\
Each cell: p, queries (images answered), seconds in total (marking the images, compilation if
any, the model, the score). Recorded answers cost their queries when they were recorded; here
only the look-up is timed. "Twin" is a network that the same program trained without the
{num_marked} photos, queried through PyTorch.
"""

_LABELS = """\
## How many augmentations does label-only access need?

log10 p on a seed that is used for no other number ({seeds}), PyTorch, by number of queries
for each image and slot and by strength of the noise. The tables above use {label_queries}
queries with noise of ±{noise_levels}, the library's default, which was not changed after
this was measured. With so few seeds, differences below about a factor of ten are not
meaningful.
"""

_BY_HAND = "\n<!-- Written by hand from here on. -->\n"


def renewed(text: str, body: dict[str, Any]) -> str:
    """Return the page of a result file, with the handwritten part of the earlier page."""
    _, mark, by_hand = text.partition(_BY_HAND)
    return page(body) + mark + by_hand


def page(body: dict[str, Any]) -> str:
    """Return the part of the page that comes from a result file."""
    results, settings = body["results"], body["results"]["settings"]
    parts = [_HEAD.format(command=body["command"], **settings)]
    parts += ["## The table\n", _CELLS.format(**settings)]
    parts += [_seed_part(seed) for seed in results["seeds"]]
    parts += [_agreement(results["seeds"]), _wrong_keys(results["seeds"])]
    if results["label_tuning"]:
        parts.append(_tuning(results["label_tuning"], settings))
    parts.append(_provenance(body))
    return "\n".join(parts)


def _seed_part(seed: dict[str, Any]) -> str:
    makes = list(seed["cells"])
    rungs = list(seed["cells"][makes[0]])
    rows = [
        [rung]
        + [_cell(seed["cells"][make][rung]) for make in makes]
        + [format_p(seed["without_the_photos"][rung]["log10_p"])]
        for rung in rungs
    ]
    learner = seed["learner"]["with"]
    told = (
        f"Seed {seed['seed']}: the learner ends at a loss of "
        f"{learner['loss_by_epoch'][-1]:.3f} nats, {_percent(learner['train_accuracy'])} right "
        f"on its photos and {_percent(learner['test_accuracy'])} on others. {_shown(seed)}\n"
    )
    return told + "\n" + _table(["answers", *makes, "twin: p"], rows)


def _cell(cell: dict[str, Any]) -> str:
    if "missing" in cell:
        return "not installed"
    return f"{format_p(cell['log10_p'])} · {cell['queries']:,} · {cell['seconds']:.1f} s"


def _shown(seed: dict[str, Any]) -> str:
    made = [c for row in seed["cells"].values() for c in row.values() if "missing" not in c]
    number = sum(cell["outcome"] == "shown" for cell in made)
    twins = [cell["outcome"] for cell in seed["without_the_photos"].values()]
    return (
        f"Shown at the committed level in {number} of {len(made)} cells, and in "
        f"{twins.count('shown')} of {len(twins)} of the twin's."
    )


def _agreement(seeds: Sequence[dict[str, Any]]) -> str:
    rows = [
        [
            str(seed["seed"]),
            rung,
            str(gaps["makes"]),
            f"{gaps['largest_loss_gap']:.1g}",
            _percent(gaps["share_of_entries_apart"]),
            f"{gaps['largest_log10_p_gap']:.1g}",
        ]
        for seed in seeds
        for rung, gaps in seed["agreement"].items()
    ]
    head = [
        "seed",
        "answers",
        "frameworks",
        "largest gap, nats",
        "entries apart",
        "gap of log10 p",
    ]
    return (
        "## Do the frameworks agree?\n\nLogits differ only by the order of float32 sums; the "
        "command stops with an error otherwise. A probability near a rounding boundary, or an "
        "image near a decision boundary, can fall to either side.\n\n" + _table(head, rows)
    )


def _wrong_keys(seeds: Sequence[dict[str, Any]]) -> str:
    rows = [
        [
            str(seed["seed"]),
            f"{seed['wrong_keys']['keys']:,}",
            f"p ≤ {level}",
            f"{100 * share['share']:.2f} %",
            f"{100 * share['low']:.2f} to {100 * share['high']:.2f} %",
            "yes" if share["within"] else "**no**",
        ]
        for seed in seeds
        for level, share in seed["wrong_keys"]["shares"].items()
    ]
    head = ["seed", "fresh keys", "level", "share", "99.9 % band", "within"]
    return (
        "## Wrong keys\n\nThe table of the network that did learn the marked photos, logits "
        "from PyTorch, tested under unrelated keys.\n\n" + _table(head, rows)
    )


def _tuning(runs: Sequence[dict[str, Any]], settings: dict[str, Any]) -> str:
    seeds = sorted({run["seed"] for run in runs})
    columns = sorted({(run["noise_levels"], not run["true_labels"]) for run in runs})
    found = {
        (run["seed"], run["label_queries"], run["noise_levels"], not run["true_labels"]): run
        for run in runs
    }
    rows = [
        [str(seed), str(number)]
        + [format_log10_p(found[seed, number, *column]["log10_p"]) for column in columns]
        for seed in seeds
        for number in sorted({run["label_queries"] for run in runs})
    ]
    head = ["seed", "queries"] + [
        f"±{noise}, {'own' if own else 'true'} labels" for noise, own in columns
    ]
    text = _LABELS.format(seeds=", ".join(map(str, seeds)), **settings)
    return text + "\n" + _table(head, rows)


def _provenance(body: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in body["versions"].items())
    hardware = body["hardware"]
    return (
        f"Commit {body['commit'][:12]}, {hardware['processor']}, {hardware['cores']} cores, "
        f"load {hardware['load_average_1_min']:.1f} at the end; {versions}.\n"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"
