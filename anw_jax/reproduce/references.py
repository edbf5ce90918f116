"""Whether the names in claims and figures stand in the settings, before hours are spent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anw_jax import _check
from anw_jax.errors import SettingsError
from anw_jax.lab import Settings
from anw_jax.reproduce import measures
from anw_jax.reproduce.measures.combined import OVER
from anw_jax.reproduce.results import names
from anw_jax.reproduce.study import Study

_ARM_ARGUMENTS = (
    "arms",
    "before",
    "after",
    "with_arm",
    "without_arm",
    "marked_arm",
    "unmarked_arm",
)


def refuse_unknown_names(study: Study, settings: Mapping[str, Settings]) -> None:
    """Refuses a claim or a figure on a user, crowd, suspect, arm or analysis that is not there.

    Args:
      study: whose claims and figure are looked at.
      settings: of each of its arms, for any seed.

    Raises:
      SettingsError: names study, claim and name.
    """
    for where, measure, arguments in _calls(study):
        try:
            for opened in _opened(measure, arguments):
                _check_call(opened, settings)
        except ValueError as error:
            raise SettingsError(f"{study.name}: {where}: {error}") from None


def _calls(study: Study) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every measure that will be computed: where it stands, its name, its arguments."""
    for number, claim in enumerate(study.claims):
        yield f"claims[{number}]", claim.measure, claim.arguments
    for _, points in study.figure.series if study.figure else ():
        for point in points:
            yield f"figure, {point.label!r}", point.measure, point.arguments
    if study.cost is not None and "measure" in study.cost:
        yield "cost", study.cost["measure"], study.cost.get("arguments") or {}


def _opened(measure: str, arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a measure of measures hands on; other arguments with their defaults."""
    if not measure:  # a curve, which is no measure
        yield arguments
        return
    full = measures.full_arguments(measure, arguments)
    if "of" not in full:
        yield full
        return
    if measure == "smallest" and full["of"] == "keyed_log10_p":
        raise ValueError("the smallest of several p is no p: name one, or take the largest")
    common = dict(full["arguments"] or {})
    if "over" in full:
        is_suspect = full["over"] == "suspects"
        handed_on = [
            {OVER[full["over"]]: None if is_suspect and member == "none" else member}
            for member in full["members"]
        ]
    else:
        handed_on = [full["first"], full["second"]]
    for own in handed_on:
        measures.check_call(full["of"], common | dict(own))
        yield from _opened(full["of"], common | dict(own))


def _check_call(arguments: Mapping[str, Any], settings: Mapping[str, Settings]) -> None:
    read: list[str] = []
    for argument in _ARM_ARGUMENTS:
        for arm in names(arguments.get(argument) or ()):
            _check.one_of(settings, **{argument: arm})
            read.append(arm)
    for arm in read or settings:
        _check_in_arm(arguments, settings[arm])


def _check_in_arm(arguments: Mapping[str, Any], settings: Settings) -> None:
    single = [name for name, user in settings.users.items() if user.count is None]
    crowds = [name for name, user in settings.users.items() if user.count is not None]
    if arguments.get("suspect") is not None:
        _check.one_of(settings.suspects, suspect=arguments["suspect"])
    if arguments.get("crowd") is not None:
        _check.one_of(crowds, crowd=arguments["crowd"])
    for argument in ("users", "user"):
        for name in names(arguments.get(argument) or ()):
            _check.one_of(single, **{argument: name})
    if "path" in arguments:
        _check_path(arguments["path"].split("."), settings, single)


def _check_path(path: Sequence[str], settings: Settings, users: Sequence[str]) -> None:
    _check.one_of(settings.analyses, analysis=path[0])
    if path[0] == "gradient_search" and path[1] != "*":
        _check.one_of(users, user=path[1])
