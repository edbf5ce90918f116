"""A case of models: what probe, declare, audit and verdict do if owners hold mark.json."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import click

from anw_jax.audit.case import is_case_of_models
from anw_jax.audit.stamps import stamps_of
from anw_jax.cli import output
from anw_jax.cli.next_step import after_probe, bundle_command, is_fit
from anw_jax.cli.options import by_owner, key_words, parse_beacon_value
from anw_jax.cli.output import ProgressLine, ProgressLines, show, stamps_lines, then
from anw_jax.errors import MissingLibraryError
from anw_jax.keys import MarkKey
from anw_jax.progress import ReportFn, silent_parts


def or_models(judge: Callable[..., int], *options: str) -> Callable[[Any], Any]:
    """Let a command of cases of photos judge cases of models too.

    Args:
      judge: called with the folder, `as_json` and the options that it takes.
      *options: names of the command's parameters that it takes; others are refused.
    """

    def wrap(for_photos: Callable[..., int | None]) -> Callable[..., int | None]:
        @functools.wraps(for_photos)
        def command(case: pathlib.Path, as_json: bool, **given: Any) -> int | None:
            if not is_case_of_models(case):
                return for_photos(case=case, as_json=as_json, **given)
            _refuse_others(options)
            return judge(case, as_json, **{name: given[name] for name in options})

        return command

    return wrap


def probe(path: pathlib.Path, as_json: bool) -> int:
    """Check that every suspect can be read by every owner's decoder."""
    with opened(path) as (case, judging):
        body = judging.probe_models(case)
        after = after_probe(case, path, body)
    lines = []
    for name, report in body["suspects"].items():
        fit = "can be read" if report["is_fit"] else "CANNOT be read"
        lines.append(f"{name}: {fit} (digest {report['weights'][:16]}…)")
        for owner, found in report["owners"].items():
            lines += [f"  error: {text} (owner {owner})" for text in found["errors"]]
            lines += [f"  warning: {text} (owner {owner})" for text in found["warnings"]]
    show(as_json, body, [*lines, *after])
    return output.DONE if is_fit(body) else output.UNFIT


def declare(
    path: pathlib.Path, as_json: bool, beacon: tuple[str, ...], despite_probe: bool
) -> int:
    """Fix owners, suspects and beacons."""
    with opened(path) as (case, judging):
        values = {
            name: parse_beacon_value(case.owners[name].published.plan, text)
            for name, text in by_owner("--beacon", beacon, case.owners).items()
        }
        stamps = stamps_of(case)
        body = judging.declare_models(case, values, despite_probe=despite_probe)
        lines = [
            *stamps_lines(stamps),
            f"declared: {len(case.owners)} owner(s), {len(case.suspects)} suspect(s)",
            f"fill in {case.file('statements.toml')} before the verdict",
            _digest_line(case, "declared.json"),
            then("anw", "audit", path),
        ]
    show(as_json, body, lines)
    return output.DONE


def report(path: pathlib.Path, as_json: bool, out: pathlib.Path | None) -> int:
    """Write the page of a finished case."""
    with opened(path) as (case, _):
        try:
            from anw_jax.report.models_page import write_models_report
        except ImportError as error:
            raise missing_for_report(error) from None
        page = write_models_report(case, out)
        lines = [f"{page} written", f"then: {bundle_command(case, path)}"]
    show(as_json, {"report": str(page)}, lines)
    return output.DONE


def missing_for_report(error: ImportError) -> MissingLibraryError:
    """Return the error that names the extra of `anw report`."""
    return MissingLibraryError(
        f"anw report needs {error.name}, of the extra 'report': pip install '.[report]' in "
        "the checkout"
    )


def run_audit(path: pathlib.Path, as_json: bool) -> int:
    """Read and seal the scores."""
    with opened(path) as (case, judging):
        body = judging.seal_models(case, ProgressLine("read", "suspects"))
        lines = [
            f"{owner} against {name}: {one['num_scores']} scores sealed, "
            f"{one['num_unusable']} unusable"
            for name, result in body["suspects"].items()
            for owner, one in result["owners"].items()
        ]
        lines += [
            f"{name}: {result.get('num_queries')} queries, {result.get('num_refused')} refused"
            for name, result in body["suspects"].items()
            if "answers" in result
        ]
        lines.append(_digest_line(case, "blind.json"))
        sealed = case.digest("blind.json")
        keys = key_words(case.owners)
        lines.append(then("anw", "verdict", path, *keys, "--blind", sealed))
    show(as_json, body, lines)
    return output.DONE


def verdict(
    path: pathlib.Path, as_json: bool, key_files: tuple[str, ...], blind: str | None
) -> int:
    """Open the keys and test the sealed scores."""
    with opened(path) as (case, judging):
        files = by_owner("--key", key_files, case.owners)
        keys = {name: MarkKey.load(pathlib.Path(file)) for name, file in files.items()}
        body = judging.judge_models(case, keys, blind=blind)
        bundling = bundle_command(case, path)
    after = f"{then('anw', 'report', path)} (a page to read), {bundling}"
    show(as_json, body, [*verdict_lines(body), after])
    return output.code_of_verdict(body)


def verdict_lines(body: dict[str, Any]) -> list[str]:
    """Format the verdict of a case of models."""
    end, lines = body["corrected"], []
    level = "" if end["level"] is None else f", level {end['level']:g}"
    for owner, by_name in body["tests"].items():
        for name, test in by_name.items():
            reason = f": {test['reason']}" if test["reason"] else ""
            lines.append(
                f"{owner} against {name}: {test['outcome']}{reason} (p {test['p_text']}{level},"
                f" {test['num_units']} bits, {test['statistic']})"
            )
            lines += [f"  {line}" for line in test["text"].splitlines()]
    for owner, by_name in body["controls"].items():
        lines += [
            f"control {name}, not a suspect: {owner}'s p {test['p_text']}"
            for name, test in by_name.items()
        ]
    for name, owner in body["case"]["owners"].items():
        lines.append(
            f"{name}: {owner['system']}, commitment {owner['commitment']} (number "
            f"{owner['number']}), beacon {owner['beacon'] or 'none'}; this key is spent"
        )
    named = "; ".join(" against ".join(entry) for entry in end["named"])
    reason = f", {end['reason']}" if end["reason"] else ""
    last = f"{end['claim']}: {end['outcome']}{reason} ({end['correction']})"
    return [*lines, f"{last}: {named}" if named else last]


def _refuse_others(options: tuple[str, ...]) -> None:
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name
        source = context.get_parameter_source(name)
        is_given = source == click.core.ParameterSource.COMMANDLINE
        if is_given and name not in ("case", "as_json", *options):
            raise click.UsageError(
                f"{parameter.opts[0]} is for cases of photos, and this is a case of models"
            )


def _digest_line(case: Any, name: str) -> str:
    return f"SHA-256 of {name}, to be noted by both sides: {case.digest(name)}"


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[tuple[Any, Any]]:
    """Open and lock a case of models; the extra 'run' is needed."""
    with needing_run():
        from anw_jax.schemes import judging
    with ProgressLines() as lines:
        case = case_of_models(path, lines.of("queries"))
        with case.locked():
            yield case, judging


def case_of_models(path: pathlib.Path, on_progress: ReportFn = silent_parts) -> Any:
    """Open a case of models; the extra 'run' is needed."""
    with needing_run():
        from anw_jax.schemes.case import ModelCase
    return ModelCase(path, on_progress)


@contextlib.contextmanager
def needing_run() -> Iterator[None]:
    """Turn a failing import into an error that names the extra 'run'."""
    try:
        yield
    except ImportError as error:
        raise MissingLibraryError(
            f"a case of models needs {error.name}, of the extra 'run': pip install '.[run]' in "
            "the checkout"
        ) from None
