"""The table of marks × attacks × models, for people."""

from anw_jax import stats

STRONG = -3.0  # log10 of the p that every mark and model must reach without attack

_ASSERTED = "p ≤ 1e-3 without attack, and the counts of wrong keys in every cell"


def markdown(report, mark_names, attack_names):
    """What survives each attack; then every cell, marks beside each other.

    Attacks without a row have one that says so.
    """
    lines = [
        f"# Marks × attacks × models: {report['num_cells']} of "
        f"{report['num_cells_expected']} cells",
        "",
        f"{report['photos']}. Made by `{report['command']}`; asserted are "
        f"{report.get('asserted', _ASSERTED)}. "
        f"{_made(report)}.",
        "",
        *_by_attack(report["rows"], mark_names, attack_names),
        "",
        "## Every cell",
        "",
        f"Of {report['num_wrong_keys']:,} wrong keys as many have p ≤ .05 / .01 as stand here; "
        f"from {report['bands'][0][0]} to {report['bands'][0][1]}, and from "
        f"{report['bands'][1][0]} to {report['bands'][1][1]}, are chance (fewer are allowed "
        "under attack: ties make the test cautious).",
        "",
        *_by_cell(report["rows"], mark_names),
    ]
    return "\n".join(lines) + "\n"


def _made(report):
    hardware = {sitting["hardware"] for sitting in report["sittings"]}
    commits = {str(sitting["commit"])[:10] for sitting in report["sittings"]}
    seconds = {(row["model"], row["attack"]): row["seconds"] for row in report["rows"]}
    return (
        f"Hardware: {', '.join(sorted(hardware))}; commit: {', '.join(sorted(commits))}; "
        f"{len(seconds)} suspects in {sum(seconds.values()) / 60:.0f} min"
    )


def _by_attack(rows, mark_names, attack_names):
    num_models = len({row["model"] for row in rows})
    titles = " | ".join(f"{name}: p ≤ 1e-3 | {name}: match" for name in mark_names)
    lines = [
        f"In how many of {num_models} models the keyed photos have p ≤ 1e-3, and one slot is "
        "matched. Accuracy: mean over models.",
        "",
        f"| attack | parameters | accuracy | {titles} |",
        "|---|---|---|" + "---|---|" * len(mark_names),
    ]
    groups = _grouped(rows, "attack")
    for attack_name in attack_names:
        cells, texts = groups.get(attack_name), []
        if cells is None:
            empty = " | – | –" * len(mark_names)
            lines.append(f"| {attack_name} | not yet run | –{empty} |")
            continue
        for name in mark_names:
            own = [cell for cell in cells if cell["mark"] == name]
            strong = sum(cell["log10_p"] <= STRONG for cell in own)
            texts.append(f"{strong} | {sum(cell['matched'] for cell in own)}")
        accuracy = sum(cell["accuracy"] for cell in cells) / len(cells)
        parameters = _parameters(cells[0]["parameters"])
        lines.append(f"| {attack_name} | {parameters} | {accuracy:.3f} | {' | '.join(texts)} |")
    return lines


def _parameters(parameters):
    """Without what is not set: `hue 0.5, …`."""
    texts = []
    for name, value in parameters.items():
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        if value not in (None, 0, ""):
            texts.append(f"{name} {shown}")
    return ", ".join(texts) or "–"


def _by_cell(rows, mark_names):
    titles = " | ".join(f"{name}: p, match, wrong ≤ .05 / .01" for name in mark_names)
    lines = [
        f"| model | attack | accuracy | {titles} |",
        "|---|---|---|" + "---|" * len(mark_names),
    ]
    for (model_name, attack_name), cells in _grouped(rows, "model", "attack").items():
        texts = [
            f"{stats.format_p(cell['log10_p'])}, {'yes' if cell['matched'] else 'no'}, "
            + " / ".join(map(str, cell["num_wrong_at_most"]))
            for cell in sorted(cells, key=lambda cell: mark_names.index(cell["mark"]))
        ]
        head = f"| {model_name} | {attack_name} | {cells[0]['accuracy']:.3f} | "
        lines.append(head + " | ".join(texts) + " |")
    return lines


def _grouped(rows, *names):
    groups = {}
    for row in rows:
        found = tuple(row[name] for name in names)
        groups.setdefault(found if len(names) > 1 else found[0], []).append(row)
    return groups
