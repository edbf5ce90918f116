"""`anw model`: from the clean model to the vote of five processes."""

import functools
import json
import pathlib
import shutil
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import pytest

from anw_jax import attacks, audit, data, models, train
from anw_jax.cli.main import run
from anw_jax.keys import MarkKey
from anw_jax.schemes import load_network, multitask, protocol, save_network
from anw_jax.schemes.log import append, read_log

MODEL = models.create("testing", 10)
TAPS = ("BasicBlock_0", "BasicBlock_1")
VALUE = "0f" * 32
NODES = tuple(f"node{number}" for number in range(5))
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@functools.cache
def clean() -> dict:
    task = data.load("mock:256", image_size=16).train
    settings = train.TrainSettings(num_epochs=4, batch_size=64, learning_rate=0.05)
    rows = data.BatchPlan(256, 64, 0).rows
    state = train.train(MODEL, settings, task.images, task.labels, rows).state
    return jax.tree.map(jnp.asarray, jax.device_get(state.variables))


@pytest.fixture
def place(tmp_path) -> pathlib.Path:
    """Signing keys, an untrained clean model, and a log of five nodes."""
    for name in ("ann", *NODES):
        audit.new_signing_key(tmp_path / name)
    save_network(tmp_path / "clean.npz", MODEL, MODEL.init(jax.random.key(0), (16, 16, 3)))
    public = [audit.signatures.public_key_of(tmp_path / name) for name in NODES]
    nodes = [word for key in public for word in ("--node", key)]
    assert run(["model", "log", str(tmp_path / "log"), *nodes, "--sign", _ann(tmp_path)]) == 0
    return tmp_path


def _ann(place) -> str:
    return str(place / "ann")


def keygen(place, *more: str) -> int:
    taps = [word for tap in TAPS for word in ("--tap", tap)]
    return run(
        [
            *("model", "keygen", str(place / "mark"), "--network", str(place / "clean.npz")),
            *taps,
            *("--beacon", "arbitrator:The nodes", "--bits", "128", "--image-size", "16"),
            *("--log", str(place / "log"), "--sign", _ann(place), *more),
        ]
    )


def test_keys_are_published_and_the_log_is_shown(place, capsys):
    assert keygen(place) == 0
    assert run(["model", "vote", str(place / "log"), "--sign", str(place / "node0")]) == 0
    capsys.readouterr()
    assert run(["model", "log", str(place / "log"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [r["kind"] for r in shown["records"]] == ["open", "publish", "publish", "seen"]
    assert sorted(path.name for path in (place / "mark").iterdir()) == [
        "key1.json",
        "key2.json",
        "mark.key",
    ]
    # Each key says how many there are, so that the best of them cannot pass for the only one.
    marks = [json.loads((place / "mark" / f"key{n}.json").read_text()) for n in (1, 2)]
    assert [mark["plan"]["number"] for mark in marks] == [2, 2]
    secret = (place / "mark" / "mark.key").read_text()
    assert json.loads(secret)["key"] not in (place / "log" / "0002.json").read_text()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--tap", "Block_9"), "taps must be one of"),
        (("--network", "none.npz"), "none.npz cannot be read"),
        (("--sign", "none"), "none"),
        (("--alpha", "2"), "alpha must lie strictly between"),
        (("--keys", "0"), "keys must be at least 1, got 0"),
        (("--bits", "20"), "bits must be at least 21, so that a match of all of them is shown"),
        (("--log", "nowhere"), "nowhere holds no log: start it with anw model log"),
    ],
)
def test_bad_input_writes_nothing(place, capsys, more, text):
    before = len(read_log(place / "log"))
    assert keygen(place, *more) == 1
    assert text in capsys.readouterr().err
    assert not (place / "mark").exists()
    assert len(read_log(place / "log")) == before


def test_a_node_cannot_see_a_log_that_is_not_there(place, capsys):
    words = ["model", "vote", str(place / "nowhere"), "--sign", str(place / "node0")]
    assert run(words) == 1
    assert "nowhere holds no log" in capsys.readouterr().err


def test_keys_are_never_overwritten(place, capsys):
    assert keygen(place) == 0
    assert keygen(place) == 1
    assert "already exists" in capsys.readouterr().err


def test_what_a_kill_left_beside_an_embedded_model_is_removed(place, capsys):
    (place / "marked.npz").write_bytes(b"whole")
    (place / "marked.npz.unfinished" / "400").mkdir(parents=True)
    words = ["model", "embed", str(place / "mark"), "--network", str(place / "clean.npz")]
    words += ["--data", "mock:64", "--beacon-value", VALUE]
    assert run([*words, "--out", str(place / "marked.npz")]) == 1
    assert "marked.npz already exists: it is never overwritten" in capsys.readouterr().err
    assert not (place / "marked.npz.unfinished").exists()
    assert (place / "marked.npz").read_bytes() == b"whole"


def test_a_claim_that_is_refused_spends_no_key_and_a_killed_one_may_have(
    place, capsys, monkeypatch
):
    assert keygen(place) == 0
    claim = ["model", "claim", str(place / "mark"), "--number", "1"]
    claim += ["--suspect", str(place / "clean.npz"), "--beacon-value", VALUE]
    claim += ["--log", str(place / "log"), "--sign", _ann(place)]
    assert run(claim) == 8
    assert "late publication: 0 of 5 nodes" in capsys.readouterr().err
    one = str(place / "one.key")
    assert run(["model", "open", str(place / "mark"), "--number", "1", "--out", one]) == 0
    assert run(claim) == 1
    text = f"key 1 is spent, opened for {one}, and cannot be opened for a claim in the log"
    assert text in capsys.readouterr().err
    claim[claim.index("--number") + 1] = "2"
    with monkeypatch.context() as patch:
        patch.setattr(protocol, "claim", mock.Mock(side_effect=KeyboardInterrupt))
        run(claim)
    assert run(["model", "open", str(place / "mark"), "--number", "2", "--out", one]) == 1
    assert "key 2 is spent, opened for a claim in the log" in capsys.readouterr().err


def _silent(place, name: str) -> pathlib.Path:
    """Save a network whose weights are all NaN, and let all nodes see the keys."""
    assert keygen(place) == 0
    for node in NODES:
        assert run(["model", "vote", str(place / "log"), "--sign", str(place / node)]) == 0
    net = models.create(name, 10)
    variables = net.init(jax.random.key(0), (16, 16, 3))
    silent = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), variables)
    save_network(place / "suspect.npz", net, silent)
    return place / "suspect.npz"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vgg_testing", "taps must be one of"),
        ("testing", "the suspect must answer at least two probes with finite values, got 0"),
    ],
)
def test_a_model_that_cannot_be_read_spends_no_key(place, capsys, name, text):
    suspect = str(_silent(place, name))
    before = len(read_log(place / "log"))
    words = ["model", "claim", str(place / "mark"), "--number", "1", "--suspect", suspect]
    words += ["--beacon-value", VALUE, "--log", str(place / "log"), "--sign", _ann(place)]
    assert run(words) == 1
    assert text in capsys.readouterr().err
    assert len(read_log(place / "log")) == before


@pytest.mark.slow
def test_a_vote_without_a_possible_test_says_so_and_is_no_evidence(place, capsys, monkeypatch):
    suspect = str(_silent(place, "testing"))
    given = ("--suspect", suspect, "--beacon-value", VALUE)
    log = str(place / "log")
    with monkeypatch.context() as patch:
        patch.setattr(multitask, "check_answers", lambda *_: None)  # another program's claim
        claim = ("model", "claim", str(place / "mark"), "--number", "1", *given)
        assert run([*claim, "--log", log, "--sign", _ann(place)]) == 0
    number, base = str(len(read_log(place / "log"))), str(place / "clean.npz")
    vote = ("model", "vote", log, "--claim", number, "--base", base, *given)
    stated = ("--models-tried", "1", "--nothing-else", "--sign", str(place / "node0"))
    capsys.readouterr()
    assert run([*vote, *stated]) == 4
    shown = capsys.readouterr().out
    assert "inconclusive\nno test possible" in shown
    assert "evidence" not in shown


def _process(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "anw_jax.cli", "model", *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_five_processes_decide_and_two_of_them_lie(place, capsys):
    (place / "clean.npz").unlink()
    save_network(place / "clean.npz", MODEL, clean())
    assert keygen(place) == 0
    seen = [_process("vote", place / "log", "--sign", place / name) for name in NODES]
    assert [process.wait(timeout=900) for process in seen] == [0] * 5
    code = run(
        [
            *("model", "embed", str(place / "mark"), "--network", str(place / "clean.npz")),
            *("--data", "mock:256", "--beacon-value", VALUE, "--steps", "400"),
            *("--out", str(place / "marked.npz")),
        ]
    )
    assert code == 0
    common = ("--log", str(place / "log"), "--sign", _ann(place))
    mark, marked = str(place / "mark"), str(place / "marked.npz")
    assert run(["model", "release", mark, "--network", marked, *common]) == 0
    _, variables = load_network(place / "marked.npz")
    nothing = attacks.TrainedModel.of(MODEL, variables)
    pruned = attacks.create("prune", fraction=0.1).change(nothing, None)
    suspect = str(place / "suspect.npz")
    save_network(suspect, MODEL, pruned.variables)
    claim = ("--number", "1", "--suspect", suspect, "--beacon-value", VALUE)
    assert run(["model", "claim", mark, *claim, *common]) == 0
    number = len(read_log(place / "log"))
    for name in NODES[:2]:
        body = {"claim": number, "outcome": "not shown"}
        append(place / "log", "vote", body, place / name)
    judges = [
        _process(
            *("vote", place / "log", "--claim", number, "--base", place / "clean.npz"),
            *("--suspect", suspect, "--sign", place / name),
            *("--beacon-value", VALUE, "--models-tried", "1", "--nothing-else"),
        )
        for name in NODES[2:]
    ]
    assert [process.wait(timeout=900) for process in judges] == [0] * 3
    capsys.readouterr()
    assert run(["model", "log", str(place / "log"), "--json"]) == 0
    (tally,) = json.loads(capsys.readouterr().out)["claims"]
    assert (tally["outcome"], tally["shown"], tally["not shown"]) == ("shown", 3, 2)

    # The same owner's second key, before an arbitrator in the place of the nodes.
    case = place / "case"
    _fill(case, place, suspect=pathlib.Path(suspect), number=2)
    one = str(place / "two.key")
    assert run(["model", "open", mark, "--number", "2", "--out", one]) == 0
    assert run(["probe", str(case)]) == 0
    assert run(["declare", str(case), "--beacon", VALUE]) == 0
    assert run(["audit", str(case)]) == 0
    assert run(["verdict", str(case), "--key", one]) == 10
    assert "ann against found: shown" in capsys.readouterr().out


def _said(code: int, *arguments) -> str:
    """What a process says that ends with this exit code."""
    command = [sys.executable, "-m", "anw_jax.cli", "model", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def _save_moved(place, name: str, by: float) -> pathlib.Path:
    """Save the clean network with all weights moved."""
    _, variables = load_network(place / "clean.npz")
    save_network(place / name, MODEL, jax.tree.map(lambda leaf: leaf + by, variables))
    return place / name


@pytest.mark.slow
def test_each_cheat_is_refused_by_name_to_a_process_of_its_own(place):
    audit.new_signing_key(place / "eve")
    assert keygen(place) == 0
    log, mark, base = place / "log", place / "mark", place / "clean.npz"
    seen = [_process("vote", log, "--sign", place / name) for name in NODES]
    assert [process.wait(timeout=900) for process in seen] == [0] * 5
    released, suspect, other = (
        _save_moved(place, name, by)
        for name, by in (("released.npz", 0.01), ("suspect.npz", 0.02), ("other.npz", 0.03))
    )
    by = {name: ("--log", log, "--sign", place / name) for name in ("ann", "eve")}
    _said(0, "release", mark, "--network", released, *by["ann"])
    late = ("--network", base, "--tap", TAPS[0], "--beacon", "arbitrator:The nodes")
    _said(0, "keygen", place / "late", *late, "--image-size", "16", *by["eve"])
    for name, change in (
        ("altered", lambda mark: mark["decoder"].update(num_probes=99)),
        ("other", lambda mark: mark.update(publication=3)),
    ):
        shutil.copytree(mark, place / name)
        _change(place / name / "key1.json", change)

    def claim(folder: str, model: pathlib.Path, who: str, code: int = 8) -> str:
        given = ("--number", 1, "--suspect", model, "--beacon-value", VALUE, *by[who])
        return _said(code, "claim", place / folder, *given)

    def vote(who: str, code: int, model: pathlib.Path, value: str = VALUE) -> str:
        number = next(one.number for one in read_log(log) if one.kind == "claim")
        given = ("--claim", number, "--base", base, "--suspect", model)
        signed = ("--beacon-value", value, "--sign", place / who)
        return _said(code, "vote", log, *given, *signed)

    assert "late publication: the model was released in record" in claim(
        "late", released, "eve"
    )
    assert "late publication: 0 of 5 nodes" in claim("late", suspect, "eve")
    assert "replayed claim: publication" in claim("mark", suspect, "eve")
    assert "own release: the claimant released" in claim("mark", released, "ann")
    assert "a setting was changed after the commitment" in claim("altered", suspect, "ann")
    assert "altered key, decoder or plan" in claim("other", suspect, "ann")
    assert "key 1 is spent" in claim("mark", suspect, "ann", code=0)
    assert "spent key: claim" in claim("mark", other, "ann")
    opened = ("open", mark, "--number", 1, "--out", place / "one.key")
    assert "key 1 is spent, opened for a claim in the log, and" in _said(1, *opened)
    assert "is no node of this log" in vote("eve", 8, suspect)
    assert "wrong model: claim" in vote("node0", 3, other)
    assert "wrong beacon value: claim" in vote("node1", 3, suspect, "0e" * 32)
    assert "second vote: " in vote("node1", 8, suspect)
    for name, change, text in (
        ("gap", pathlib.Path.unlink, "has a gap: 0003.json is missing"),
        (
            "forged",
            lambda file: _change(file, lambda record: record.update(author="0f" * 32)),
            "is not signed by its author",
        ),
    ):
        shutil.copytree(log, place / name)
        change(place / name / "0003.json")
        assert text in _said(8, "log", place / name)


def _change(file: pathlib.Path, change) -> None:
    body = json.loads(file.read_text())
    change(body)
    file.write_text(json.dumps(body))


def _fill(case, place, *, suspect: pathlib.Path, number: int) -> None:
    """Make a case of models from what the owner hands over."""
    ann = case / "owners" / "ann"
    ann.mkdir(parents=True)
    (case / "suspects").mkdir()
    shutil.copy(place / "mark" / f"key{number}.json", ann / "mark.json")
    shutil.copy(place / "clean.npz", ann / "base.npz")
    shutil.copy(suspect, case / "suspects" / "found.npz")
    (case / "suspects" / "found.toml").write_text('kind = "network"\nfile = "found.npz"\n')


def test_keys_without_a_log_are_opened_for_an_arbitrator(place, capsys, monkeypatch):
    mark, one = str(place / "mark"), str(place / "one.key")
    taps = [word for tap in TAPS for word in ("--tap", tap)]
    made = ["model", "keygen", mark, "--network", str(place / "clean.npz"), *taps]
    made += ["--beacon", "arbitrator:Jane", "--bits", "64", "--image-size", "16"]
    assert run([*made, "--log", str(place / "log")]) == 2
    assert "--log and --sign belong together" in capsys.readouterr().err
    assert run(made) == 0
    assert "key 1: not published, " in capsys.readouterr().out
    release = ["model", "release", mark, "--network", str(place / "clean.npz")]
    assert run([*release, "--log", str(place / "log"), "--sign", _ann(place)]) == 1
    assert "key 1 is in no log" in capsys.readouterr().err
    assert run(["model", "open", mark, "--number", "3", "--out", one]) == 1
    assert "number must be 1 to 2" in capsys.readouterr().err
    nowhere = str(place / "clean.npz" / "one.key")
    assert run(["model", "open", mark, "--number", "1", "--out", nowhere]) == 1
    assert run(["model", "open", mark, "--number", "1", "--out", one]) == 0
    # It stays spent where the same command fails once the file has been sent and moved.
    pathlib.Path(one).rename(place / "sent.key")
    with monkeypatch.context() as patch:
        patch.setattr(MarkKey, "save", mock.Mock(side_effect=OSError("no space")))
        assert run(["model", "open", mark, "--number", "1", "--out", one]) == 1
    other = str(place / "other.key")
    assert run(["model", "open", mark, "--number", "1", "--out", other]) == 1
    assert f"key 1 is spent, opened for {one}, and" in capsys.readouterr().err
    assert not pathlib.Path(other).exists()
    _fill(place / "case", place, suspect=place / "clean.npz", number=1)
    assert run(["probe", str(place / "case")]) == 7
    assert "it is the clean model from before the bits" in capsys.readouterr().out


def test_a_suspect_of_another_kind_or_with_other_fields_is_one_clear_error(place, capsys):
    assert keygen(place) == 0
    case = place / "case"
    _fill(case, place, suspect=place / "clean.npz", number=1)
    file = case / "suspects" / "found.toml"
    for text, wanted in (
        ('kind = "onnx"\nfile = "found.npz"\n', "kind must be 'network'"),
        ('kind = "network"\n', "must have the fields kind and file"),
        ('kind = "network"\nfile = "none.npz"\n', "none.npz cannot be read"),
    ):
        file.write_text(text)
        assert run(["probe", str(case)]) == 1
        assert wanted in capsys.readouterr().err
        assert not (case / "probe.json").exists()
