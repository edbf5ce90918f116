"""Format the results of the owner's commands as lines of text."""

import pathlib
import re
import shlex
from collections.abc import Iterable

from anw_jax import audit
from anw_jax.audit.folder_report import named_lines, plural
from anw_jax.keys.beacons import read_beacon

_QUALITY = re.compile(r"quality (\d+)")


def commitment_lines(
    done: audit.Committed, folder: pathlib.Path, key_file: str, out: pathlib.Path
) -> list[str]:
    """Format a new commitment, and what comes next."""
    lines = audit.report_lines(done.report)
    if done.without_mark:
        lines.append(f"WILL CARRY NO MARK: {plural(len(done.without_mark), 'photo')}")
        lines += named_lines(done.without_mark)
    lines += [f"warning: {text}" for text in done.warnings]
    lines += [
        f"commitment {done.commitment}",
        f"number {done.number} of your commitments, {plural(done.num_units, 'unit')} in {out}; "
        "nothing is marked yet",
    ]
    command = shlex.join(
        ["anw", "mark", str(folder), "--key", str(key_file), "--out", str(out)]
    )
    if not done.beacon:
        return [*lines, "publish the commitment before the photos", f"then: {command}"]
    return [
        *lines,
        "publish the commitment now, before the value appears, where the time can be proved",
        beacon_line(done.beacon),
        f"then: {command} --beacon-value {value_word(done.beacon)}",
    ]


def value_word(beacon: str) -> str:
    """Return what stands for a beacon's value in a command.

    Example:
      >>> value_word("arbitrator:Jane Doe")
      'HEX'
    """
    return "FILE" if read_beacon(beacon).address else "HEX"


def beacon_line(name: str) -> str:
    """Say when and where the value of a beacon appears.

    Example:
      >>> beacon_line("arbitrator:Jane Doe")
      'ask the arbitrator for 32 random bytes, drawn after receiving the commitment'
    """
    beacon = read_beacon(name)
    if beacon.kind == "arbitrator":
        return "ask the arbitrator for 32 random bytes, drawn after receiving the commitment"
    if beacon.address:
        when = "" if beacon.time is None else f" at {beacon.time:%Y-%m-%d %H:%M:%S} UTC"
        return f"the beacon's value appears{when} at {beacon.address}: save that file"
    return f"wait for the value of {name!r}, which is not a known kind of beacon"


def marked_lines(done: audit.Committed, marked: audit.Marked, out: pathlib.Path) -> list[str]:
    """Format what was marked, and what comes next."""
    lines = audit.report_lines(marked.report)
    lines += [f"warning: {text}" for text in done.warnings if done.is_new]
    lines += [
        f"commitment {done.commitment}",
        f"{plural(len(marked.marked), 'photo')} of {plural(done.num_units, 'unit')} marked; in "
        f"{out}/published are {marked.num_written} files: publish these, never the originals",
        *file_lines(marked),
        f"keep the key, the originals and {out}: an audit needs all of them",
    ]
    if not done.beacon:
        lines += [
            "publish the commitment before them",
            'a verdict on these can at best be "shown, if …", since hues without a beacon can '
            "be computed in advance; use anw commit and anw mark --beacon-value to avoid that",
        ]
    return lines


def file_lines(marked: audit.Marked) -> list[str]:
    """Say how files are written, what was removed, and which carry no mark."""
    lines = written_lines(one.written_as for one in (*marked.marked, *marked.unchanged))
    lines += [f"removed: {number} × {what}" for what, number in marked.removed.items()]
    if marked.without_mark:
        lines.append(f"CARRY NO MARK: {plural(len(marked.without_mark), 'photo')}")
        lines += named_lines(marked.without_mark)
    if marked.lost:
        lines.append(
            "an audit needs every original that was committed to: restore these files from a "
            "backup; without them a verdict is conditional"
        )
    return lines


def written_lines(texts: Iterable[str]) -> list[str]:
    """Format as what files were written, one line for each format.

    Example:
      >>> written_lines(["PNG", "JPEG, quality 75", "JPEG, quality 90", "PNG"])
      ['written as JPEG, quality 75 to 90: 2', 'written as PNG: 2']
    """
    numbers: dict[str, list[int]] = {}
    for text in texts:
        found = _QUALITY.search(text)
        group = numbers.setdefault(_QUALITY.sub("quality {}", text), [])
        group.append(int(found[1]) if found else 0)
    lines = []
    for text, group in sorted(numbers.items()):
        low, high = min(group), max(group)
        quality = f"{low}" if low == high else f"{low} to {high}"
        lines.append(f"written as {text.format(quality)}: {len(group)}")
    return lines
