"""Mutants of every file of a case whose suspect is asked for images: one line, a known exit
code, and no p that the kept answers do not give."""

import contextlib
import json
import random
import tomllib

import numpy as np
import pytest

from tests.cli import outputs_asked as asked
from tests.cli import test_outputs_http as http
from tests.cli.fuzz_cases import Kept, check_mutants, digest_of
from tests.cli.fuzzing import Commands, make_quick
from tests.cli.test_fuzz_case import means_the_same, mutant
from tests.cli.test_outputs_asked import CALLED, COUNTING
from tests.mutants import COMMAND_COUNTS, other_value, toml_file
from tests.schemes import bundling
from tests.schemes.test_fuzz_bundles import LINKS, mended
from tests.suspects.fuzz_child import mutant as archive_mutant

pytest.importorskip("onnx", reason="onnx makes the files that are asked")
pytest.importorskip("onnxruntime", reason="onnxruntime is an optional library")
pytestmark = [
    pytest.mark.filterwarnings("always"),
    pytest.mark.enable_socket,
    pytest.mark.allow_hosts(["127.0.0.1"]),
]

ANSWERS, SUSPECT = "answers/found.answers", "suspects/found.toml"
DECODER = "owners/ann/decoder.npz"
SEALED = (
    "verdict.json", "blind.json", "declared.json", "probe.json", "statements.toml", "ann.key",
    "owners/ann/mark.json", DECODER, SUSPECT, "scores/found.npz", ANSWERS,
)  # fmt: skip
HANDED_OVER = ("owners/ann/mark.json", DECODER, SUSPECT, "probe.json")
WITH_ANSWERS = {
    **LINKS,
    "blind.json": {**LINKS["blind.json"], ("suspects", "found", "answers"): ANSWERS},
}
RESULTS = {0: "shown", 3: "not shown", 4: "inconclusive", 10: "shown, with conditions"}


class World:
    """A case of one owner and one copy, and its commands.

    Attributes:
      anw: calls a command.
      case, key: the folder, and the words that open it.
    """

    def __init__(self, root, anw):
        self.anw, self.root, self.case = anw, root, root / "case"
        self.key = ("--key", root / "ann.key")

    def path(self, name):
        return (self.root if name.endswith(".key") else self.case) / name

    def verdict(self, command, *words):
        """The code of a verdict, and the test; None where there is none."""
        ended = command("verdict", self.case, *self.key, *words)
        if ended.code not in RESULTS:
            return ended.code, None
        body = json.loads((self.case / "verdict.json").read_text())
        return ended.code, body["tests"].get("ann", {}).get("found")

    def mend(self) -> None:
        names = {*WITH_ANSWERS, *(n for links in WITH_ANSWERS.values() for n in links.values())}
        files = {name: self.path(name) for name in names}
        before = {n: path.read_bytes() for n, path in files.items() if path.exists()}
        for name, body in mended(before, WITH_ANSWERS).items():
            if body != before[name]:
                files[name].write_bytes(body)


@contextlib.contextmanager
def handed_over(root, kind):
    """A case with all statements, probed; its suspect refuses one query if it is a service."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("MODEL_AUTHORIZATION", http.SECRET)
        patch.setattr("secrets.token_bytes", lambda number=32: bytes(range(number)))
        patch.setattr(asked, "VALUE", bundling.VALUE)
        make_quick(patch)
        bundling.barrier_case(root).save(root / "ann.key")
        world = World(root, Commands(patch))
        service = http.Service(*asked.copied_kernels(root))
        if kind == "http":
            url = stack.enter_context(http.served(service))
            world.path(SUSPECT).write_text(http.HTTP.format(url=url))
        if kind == "callable":
            world.path(SUSPECT).write_text(CALLED)
            code = COUNTING.replace("CHANGE", "[0.95, 1.0, 0.9]")
            (world.case / "suspects" / "found.py").write_text(code)
        assert world.anw("probe", world.case).code == 0
        service.asked = 0
        service.change = lambda body, kind, number: (body * (number != 5), kind)
        yield world


@pytest.fixture(scope="module", params=["onnx", "http"])
def sealed(request, tmp_path_factory):
    """A case that ends with exit code 0, and the digest noted at its audit."""
    with handed_over(tmp_path_factory.mktemp(request.param), request.param) as world:
        for words in (("declare", "--beacon", bundling.VALUE), ("audit",)):
            assert world.anw(words[0], world.case, *words[1:]).code == 0
        noted = digest_of(world.path("blind.json"))
        code, test = world.verdict(world.anw, "--blind", noted)
        assert code == 0
        refused = json.loads(world.path("blind.json").read_text())["suspects"]["found"]
        assert refused["num_refused"] == (request.param == "http")
        yield world, noted, test, Kept(world.root)


@pytest.fixture(scope="module", params=["onnx", "callable"])
def declared(request, tmp_path_factory):
    """A case before its audit, what a whole audit keeps, and how it then ends."""
    with handed_over(tmp_path_factory.mktemp(request.param), request.param) as world:
        ended = world.anw("declare", world.case, "--beacon", bundling.VALUE)
        assert ended.code == 0
        kept = Kept(world.root)
        assert world.anw("audit", world.case).code == 0
        answers = world.path(ANSWERS).read_bytes()
        code, test = world.verdict(world.anw, "--blind", digest_of(world.path("blind.json")))
        assert (code == 0) == (request.param == "onnx")
        kept.put_back()
        yield world, answers, code, test, kept


def damaged(before: bytes, name: str, rng: random.Random) -> bytes:
    if name == SUSPECT and rng.random() < 0.7:
        value = tomllib.loads(before.decode())
        for _ in range(rng.randint(1, 3)):
            value = other_value(value, rng) if value else value
        return toml_file(value)
    if name.endswith(".npz"):
        return archive_mutant(before, np.random.default_rng(rng.getrandbits(32)))
    return mutant(before, name, rng)


def end_when_sealed(sealed, name: str, body: bytes, rng: random.Random) -> str:
    """What verdict and replay make of one mutant.

    Half of them with mended digests, and half of them held against the digest noted.
    """
    world, noted, known, kept = sealed
    is_mended, is_noted = rng.random() < 0.5, rng.random() < 0.5
    path = world.path(name)
    path.write_bytes(body)
    if is_mended:
        world.mend()
        body = path.read_bytes()
    is_verdict = name == "verdict.json"
    code, test = None, known
    if not is_verdict:
        code, test = world.verdict(world.anw.checked, *(("--blind", noted) if is_noted else ()))
        if code not in RESULTS:
            return "refused in one line"
    ended = world.anw.checked("replay", world.case, *world.key)
    if code == 0 or (is_verdict and ended.code == 0):
        assert is_noted or is_verdict
        # A decoder is what its arrays say, in whatever archive: the plan has their digest.
        same = name == DECODER or means_the_same(body, kept[path], name)
        assert same, body[:300]
    if ended.code not in RESULTS:
        return "seen by the replay"
    assert is_verdict or ended.code == code
    # Whatever else was made again: the answers, if they are those kept, give this p.
    if name != ANSWERS and code in (0, 10):
        assert test["log10_p"] >= known["log10_p"] - 0.01, body[:300]
    return f"replayed: {RESULTS[ended.code]}"


@pytest.mark.parametrize("count", COMMAND_COUNTS)
@pytest.mark.parametrize("name", SEALED)
def test_mutants_at_the_verdict(sealed, name, count):
    world, *_, kept = sealed
    check_mutants(
        f"sealed case of outputs ({world.root.name.rstrip('0123456789')}), verdict and replay: "
        f"{name}",
        kept[world.path(name)],
        count,
        lambda before, rng: damaged(before, name, rng),
        lambda body, rng: end_when_sealed(sealed, name, body, rng),
        kept.put_back,
    )


def end_of_audit(declared, name: str, body: bytes) -> str:
    world, _, known_code, known, _ = declared
    is_earlier = name in HANDED_OVER
    if is_earlier:
        world.path("declared.json").unlink()
    world.path(name).parent.mkdir(exist_ok=True)
    world.path(name).write_bytes(body)
    world.mend()
    steps = [("declare", "--beacon", bundling.VALUE)] if is_earlier else []
    if name == SUSPECT:
        steps.insert(0, ("probe",))
    for words in (*steps, ("audit",)):
        if world.anw.checked(words[0], world.case, *words[1:]).code:
            return "refused in one line"
    noted = digest_of(world.path("blind.json"))
    code, test = world.verdict(world.anw.checked, "--blind", noted)
    if code not in RESULTS:
        return "refused in one line"
    assert world.anw.checked("replay", world.case, *world.key).code == code
    if name == SUSPECT:  # another way to ask is another test, and says so
        return f"as described: {RESULTS[code]}"
    if code == 0:
        assert known_code == 0
        assert test["log10_p"] >= known["log10_p"] - 0.01, body[:300]
    return RESULTS[code]


@pytest.mark.parametrize("count", COMMAND_COUNTS)
@pytest.mark.parametrize("name", [*HANDED_OVER, "declared.json", "statements.toml", ANSWERS])
def test_mutants_before_the_audit(declared, name, count):
    world, answers, *_, kept = declared
    check_mutants(
        f"case of outputs ({world.root.name.rstrip('0123456789')}), before the audit: {name}",
        answers if name == ANSWERS else kept[world.path(name)],
        count,
        lambda before, rng: damaged(before, name, rng),
        lambda body, rng: end_of_audit(declared, name, body),
        kept.put_back,
    )
