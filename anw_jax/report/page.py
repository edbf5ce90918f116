"""The page: one HTML file that needs nothing else."""

import functools
import importlib.resources
from collections.abc import Iterator
from typing import Any

import jinja2

from anw_jax.keys import SignatureSpace
from anw_jax.report import hues, words
from anw_jax.report.figures import UserDrawings
from anw_jax.report.reading import RunRecord

_STAGES = {
    "mark": "photos marked, keys stored",
    "train": "the model trained",
    "verify": "the model asked, tables sealed",
    "proof": "keys opened, one test each",
}


def render(record: RunRecord, drawings: list[UserDrawings]) -> str:
    """The whole page as text; names and settings are escaped."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "percent": words.percent,
        "seconds": words.seconds,
        "time": words.time,
    }
    template = environment.from_string(_resource("report.html.j2"))
    return template.render(
        **_run_context(record),
        style_sheet=_resource("report.css"),
        drawings=drawings,
        claim_drawings=[d for d in drawings if d.user.is_claim],
        not_drawn=len(record.users) - len(drawings),
        words=words,
        hues_of=hues.hues_of,
        most_tiles=hues.MOST_TILES,
    )


@functools.cache
def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _run_context(record: RunRecord) -> dict[str, Any]:
    verify_settings = record.results["settings"]["verify"]
    space = SignatureSpace(verify_settings["num_slots"])
    return {
        "results": record.results,
        "model": record.results.get("model") or {},
        "provenance": record.provenance,
        "claims": record.claims,
        "controls": record.controls,
        "users": record.users,
        "verify": verify_settings,
        "crowds": record.results.get("crowds") or {},
        "space": space,
        "num_angles": space.num_slots * verify_settings["grid_refinement"],
        "num_queries": sum(user.num_queries or 0 for user in record.users),
        "diagnostic_names": list(
            dict.fromkeys(name for user in record.users for name in user.numbers["diagnostics"])
        ),
        "no_evidence": _no_evidence(record),
        "num_standing": len(record.claims or record.users),
        "broken_seals": [user.name for user in record.users if user.seal_agrees is False],
        "stages": _stages(record),
        "settings_rows": list(_flatten(record.results["settings"])),
        "is_private_basis": any(
            user.numbers.get("mark", "") != "hue_rotation" for user in record.users
        ),
        "commitment_time": next(
            (user.commitment_time for user in record.users if user.commitment_time), None
        ),
    }


def _no_evidence(record: RunRecord) -> dict[str, list[str]]:
    """Standings that are not evidence, with the users that have them."""
    standings: dict[str, list[str]] = {}
    for user in record.claims or record.users:
        if not words.is_evidence(user):
            standings.setdefault(user.numbers["standing"], []).append(user.name)
    return standings


def _stages(record: RunRecord) -> list[tuple[str, str, str]]:
    """Stage in words, first and last time in the log."""
    return [
        (text, *record.stage_times[stage])
        for stage, text in _STAGES.items()
        if stage in record.stage_times
    ]


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Settings as dotted names and values."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flatten(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value)) or "none"
    else:
        yield path, "default" if value is None else str(value)
