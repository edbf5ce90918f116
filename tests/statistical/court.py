"""A court for owners who lie: the path of an audit on photos of a few pixels, a thousand times.

`heard` takes the audit's own functions from the originals handed over to the exit code; only
the answers come from memory, and no file but the originals is written. `heard_by_commands` runs
`anw probe`, `declare`, `audit` and `verdict` on the same folder: both must agree.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil
import types

import numpy as np
import pytest

from anw_jax import audit, keys, suspects, verify
from anw_jax.audit import checks
from anw_jax.audit.case import Owner
from anw_jax.audit.conditions import conditions_of_originals
from anw_jax.audit.corrections import corrected, restate
from anw_jax.audit.judge import judge_table, own_rule
from anw_jax.audit.options import access_of_rule, choose_rule
from anw_jax.audit.originals import Originals, read_originals
from anw_jax.audit.published import Published, write_published
from anw_jax.cli import output
from anw_jax.errors import AnwError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace, image_digest
from anw_jax.keys.plan import labels_digest
from anw_jax.marks import HueRotation, publish
from anw_jax.stats.exact import ExactNull
from anw_jax.verify import Statements, verdict
from tests.statistical import owners

NUM_PHOTOS = 12  # with 8 or more a perfect match is shown at any level used here
SPACE, MARK = SignatureSpace(), HueRotation()
DECLARATION = suspects.Declaration(2, "logits")
HELD, VALUE_APPEARED, TOO_LATE = "2026-11-03T10:00Z", "2026-11-03T12:00Z", "2026-11-04T10:00Z"
OUTCOMES = (0, 3, 4, 9, 10)  # exit codes of verdicts; the others are errors

_MODEL = """import pathlib
import numpy as np
from tests.statistical.court import Model

HERE = pathlib.Path(__file__).parent
MODEL = Model(float((HERE / "hue.txt").read_text()), np.load(HERE / "met.npy"))

def answer(batch):
    return MODEL(batch)
"""
_SUSPECT = """kind = "callable"
function = "net_code/model.py:answer"
files = ["net_code/hue.txt", "net_code/met.npy"]
[declaration]
num_classes = 2
answer = "logits"
"""


class Model:
    """A colour prior that everybody may know, and a memory of the pictures that it met.

    Args:
      hue: the hue that it likes in any picture, in radians.
      met: pictures it was trained on, uint8 `[m, H, W, 3]`; by default none.
    """

    def __init__(self, hue: float, met: np.ndarray | None = None):
        self.hue = hue
        self.met = np.zeros((0, 4, 4, 3), np.uint8) if met is None else met
        self._rows: dict[str, np.ndarray] = {}

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Logits `[b, 2]`."""
        batch = np.asarray(batch, np.float64)
        red, green, blue = np.moveaxis(batch.mean(axis=(1, 2)), -1, 0)
        hue = np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)
        liking = 2 * np.cos(hue - self.hue)
        if len(self.met):
            away = np.abs(batch[:, None] - self.met[None] / 255).mean(axis=(2, 3, 4))
            liking += 6 * np.exp(-40 * away.min(axis=1))
        return np.stack([liking, np.zeros_like(liking)], axis=1).astype(np.float32)

    def table(self, photos: np.ndarray) -> np.ndarray:
        """Its losses as an audit asks for them, float32 `[n, 12]`; each photo is asked once."""
        digests = [image_digest(photo) for photo in photos]
        new = {d: i for i, d in enumerate(digests) if d not in self._rows}
        if new:
            suspect = suspects.CallableSuspect(self, DECLARATION, identity="net")
            asked = np.stack([photos[i] for i in new.values()])
            rule = access_of_rule(choose_rule("net", DECLARATION, {"": plan_of()}, {}).rule)
            rows = suspects.ask(
                suspect, asked, np.zeros(len(asked), int), MARK, SPACE, access=rule,
                seed=bytes(32),
            )  # fmt: skip
            self._rows |= dict(zip(new, rows, strict=True))
        return np.stack([self._rows[digest] for digest in digests])


@functools.cache
def plan_of(level: float = 0.05, **changes) -> Plan:
    """The plan that `anw commit` makes by default, under the mark of the paper."""
    labels = labels_digest(np.zeros(NUM_PHOTOS, int))
    choices = audit.Choices(mark="hue", alpha=level, beacon=owners.BEACON)
    return dataclasses.replace(choices.plan(MARK.description, labels, 1), **changes)


@dataclasses.dataclass(frozen=True)
class HandedOver:
    """What one owner hands over, and what the arbitrator knows from elsewhere.

    Attributes:
      key, manifest, plan, commitment: of the owner.
      photos: as handed over, in an archive under the manifest's names.
      files: handed over instead, by name, if any.
      table: what the arbitrator takes for the answers, unchecked; in near lies alone.
      value: of the beacon.
      said: the arbitrator's statements.
    """

    key: MarkKey
    manifest: Manifest
    plan: Plan
    commitment: str
    photos: np.ndarray
    value: bytes
    said: Statements
    files: dict[str, bytes] | None = None
    table: np.ndarray | None = None

    @property
    def published(self) -> Published:
        return Published(self.commitment, self.plan, self.manifest, MARK, {})


Brought = dict[str, HandedOver]


def manifest_of(photos: np.ndarray, **more) -> Manifest:
    names = [f"photo{number:02d}.png" for number in range(len(photos))]
    return Manifest.of(photos, SPACE, file_names=names, **more)


def honest(photos, key: MarkKey, plan: Plan, value: bytes, **changes) -> HandedOver:
    """An owner who committed in time, once, and hands over what was committed to."""
    manifest = changes.pop("manifest", None) or manifest_of(photos)
    commitment = keys.commit(key, manifest, plan)
    said = Statements(
        commitment, HELD, "a letter", VALUE_APPEARED, found=plan.number, models_tried=1,
        nothing_else=True,
    )  # fmt: skip
    made = HandedOver(key, manifest, plan, commitment, photos, value, said)
    return dataclasses.replace(made, **changes)


def marked(one: HandedOver) -> np.ndarray:
    """What this owner publishes, uint8 `[n, H, W, 3]`."""
    degrees = keys.assign(one.key, one.manifest, one.plan, beacon=one.value).degrees
    pairs = zip(one.photos, degrees, strict=True)
    return np.stack([publish(MARK, photo[None], float(angle))[0] for photo, angle in pairs])


# --- The two ways to hear a case. ---


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """What a verdict does not use is not computed, and each null distribution once."""
    nulls: dict[bytes, np.ndarray] = {}

    def log_p_value(null: ExactNull, observed: int) -> float:
        integers = null.integers.tobytes()
        if integers not in nulls:
            nulls[integers] = null.survival
        return float(np.log(nulls[integers][observed]))

    patch.setattr(ExactNull, "log_p_value", log_p_value)
    patch.setattr(verdict, "_diagnostics", lambda *_: {})


def heard(model: Model, brought: Brought, root: pathlib.Path) -> tuple[int, float | None]:
    """The exit code of an audit and its smallest p, without the files of a case."""
    try:
        return _heard(model, brought, root)
    except (AnwError, ValueError) as error:
        return output.code_of_error(error), None


def _heard(model, brought, root) -> tuple[int, float | None]:
    plans, tests = {name: one.plan for name, one in brought.items()}, {}
    chosen = choose_rule("net", DECLARATION, plans, {})
    conditions = dict.fromkeys(brought, ())
    tables = {name: one.table for name, one in brought.items()}
    if any(table is None for table in tables.values()):
        tables, conditions = _asked(model, brought, root)
    for name, one in brought.items():
        test = judge_table(
            tables[name],
            one.key,
            one.published,
            sealed_digest=verify.seal(tables[name]),
            beacon=one.value,
            rule=own_rule(one.plan, chosen.rule),
            menu=chosen.menu,
            statements=one.said,
            other_conditions=conditions[name],
        )
        tests[name] = {"net": test}
    end = corrected(next(iter(plans.values())), tests)
    body = {"tests": restate(tests, end), "corrected": end}
    return output.code_of_verdict(body), min(test["net"]["p_value"] for test in tests.values())


def _asked(model, brought, root) -> tuple[dict, dict]:
    """The tables of all owners, and what their originals leave open; checked as in a case."""
    case = types.SimpleNamespace(suspects={"net": None}, path=root)
    case.owners = {name: _owner(name, one, root / name) for name, one in brought.items()}
    case.plan = next(iter(brought.values())).plan
    checks.check_owners(case)
    checks.check_complete(case)
    tables, conditions = {}, {}
    for name, owner in case.owners.items():
        checks.wanted_labels(case, name, checks.source_of(owner.published.plan))
        tables[name] = model.table(np.stack(list(owner.originals.images)))
        conditions[name] = conditions_of_originals(owner.originals)
    return tables, conditions


_READ: dict[tuple[int, int], tuple[HandedOver, Originals]] = {}


def _owner(name: str, one: HandedOver, folder: pathlib.Path) -> Owner:
    """The owner with originals read from a folder; the same array and manifest once."""
    same = (id(one.photos), id(one.manifest))
    if one.files or same not in _READ:
        _write_originals(one, folder)
        _READ[same] = one, read_originals(folder, one.manifest)
    originals = _READ[same][1]
    if one.files:
        del _READ[same]
    return Owner(name, one.published, originals)


def _write_originals(one: HandedOver, folder: pathlib.Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "originals" if one.files else folder).mkdir(parents=True)
    if one.files:
        for file, body in one.files.items():
            (folder / "originals" / file).write_bytes(body)
        rows = "".join(f"{file},0\n" for file in one.manifest.file_names)
        (folder / "labels.csv").write_text(rows)
        return
    names = one.manifest.file_names[: len(one.photos)]
    labels = np.zeros(len(names), int)
    np.savez(folder / "originals.npz", images=one.photos, file_names=names, labels=labels)


def heard_by_commands(
    anw, model: Model, brought: Brought, root: pathlib.Path
) -> tuple[int, float | None]:
    """The same by `anw`: the exit code of the first command that fails, or of the verdict."""
    case = root / "case"
    shutil.rmtree(case, ignore_errors=True)
    for name, one in brought.items():
        folder = case / "owners" / name
        _write_originals(one, folder)
        now = verify.statements.parse_utc(now=HELD)
        write_published(folder, one.key, one.manifest, one.plan, one.commitment, now)
        (root / f"{name}.key").unlink(missing_ok=True)
        one.key.save(root / f"{name}.key")
    code = case / "suspects" / "net_code"
    code.mkdir(parents=True)
    (code / "model.py").write_text(_MODEL)
    (code / "hue.txt").write_text(repr(model.hue))
    np.save(code / "met.npy", model.met)
    (case / "suspects" / "net.toml").write_text(_SUSPECT)
    (case / "statements.toml").write_text(_statements(brought))
    given = [f"{name}={one.value.hex()}" for name, one in brought.items()]
    values = [
        word for pair in zip(["--beacon"] * len(given), given, strict=True) for word in pair
    ]
    for words in (("probe",), ("declare", *values), ("audit",)):
        ended = anw(words[0], case, *words[1:])
        if ended.code:
            return ended.code, None
    names = [word for name in brought for word in ("--key", f"{name}={root / f'{name}.key'}")]
    noted = hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()
    ended = anw("verdict", case, *names, "--blind", noted)
    if ended.code not in OUTCOMES:
        return ended.code, None
    tests = json.loads((case / "verdict.json").read_text())["tests"]
    return ended.code, min(test["net"]["p_value"] for test in tests.values())


def _statements(brought: Brought) -> str:
    parts = []
    for name, one in brought.items():
        said = one.said
        fields = {
            field: getattr(said, field)
            for field in ("commitment", "held_since", "held_from", "value_appeared", "found")
        }
        lines = [f"{field} = {json.dumps(value)}" for field, value in fields.items() if value]
        parts += [f"[owners.{name}]", *lines, "nothing_else = true"]
    return "\n".join([*parts, "[suspects.net]", "models_tried = 1"]) + "\n"
