"""Whatever goes wrong is one line that names the argument, the value and the rule."""

import json

import pytest

from anw_jax import data
from anw_jax.cli import output
from anw_jax.cli.main import _COMMANDS
from anw_jax.cli.main import anw as group
from anw_jax.errors import BudgetError, CaseError, ChangedFileError, RecordError, SuspectError
from anw_jax.verify.verdict import EVIDENCE, EXPERIMENT_KEY, NO_COMMITMENT, OPENED_BEFORE
from tests.audit.conftest import hand_over, write_photos, write_suspect


def test_every_command_has_help_with_an_example(anw):
    words = []
    for name in group.commands:
        command = group.get_command(None, name)
        words += [(name, one) for one in getattr(command, "commands", ())] or [(name,)]
    for command in words:
        ran = anw(*command, "--help")
        assert ran.code == 0
        assert f"  anw {' '.join(command)} " in ran.out
        assert "Example" in ran.out


def test_the_list_of_commands_says_what_the_commands_say():
    for name, (_, _, line) in _COMMANDS.items():
        command = group.get_command(None, name)
        assert (command.name, command.get_short_help_str(limit=200)) == (name, line)


def test_the_help_holds_the_table_of_exit_codes(anw):
    out = " ".join(anw("--help").out.split())
    for code, meaning in output.MEANINGS.items():
        assert f"{code} {meaning}" in out
    assert anw().code == 2


def test_errors_have_codes():
    for error, code in {
        CaseError("x"): 1,
        SuspectError("x"): 1,
        ValueError("x"): 1,
        BudgetError("x"): 6,
        ChangedFileError("x"): 8,
        RecordError("x"): 8,
        KeyboardInterrupt(): 130,
    }.items():
        assert output.code_of_error(error) == code
    assert output.line_of_error(KeyError("x")) == "KeyError: 'x'"
    assert output.line_of_error(CaseError("two\n  lines")) == "two lines"


@pytest.mark.parametrize(
    ("outcome", "standing", "code"),
    [
        ("shown", EVIDENCE, 0),
        ("shown", "evidence under the committed plan, if it was public before", 0),
        ("shown", "holds only if the owner chose no photos by their slots (no beacon)", 10),
        ("shown", OPENED_BEFORE, 9),
        ("shown", EXPERIMENT_KEY, 9),
        ("shown", NO_COMMITMENT, 9),
        ("not shown", EXPERIMENT_KEY, 3),
        ("inconclusive", EVIDENCE, 4),
    ],
)
@pytest.mark.parametrize("named", [["ann", "net"], ["ann"]])
def test_what_is_shown_without_being_evidence_is_no_success(outcome, standing, code, named):
    body = {
        "corrected": {"outcome": outcome, "named": [named] if outcome == "shown" else []},
        "tests": {"ann": {"net": {"standing": standing}}},
    }
    assert output.code_of_verdict(body) == code


def lines(ran):
    return ran.err.splitlines()


def test_wrong_command_lines(anw):
    for words, message in {
        ("mrk",): "anw: No such command 'mrk'.",
        ("audit",): "anw: Missing argument 'CASE'.",
        ("mark", "x", "--out", "y"): "anw: Missing option '--key'.",
        ("plan", "--mode", "open"): (
            "anw: Invalid value for '--mode': 'open' is not one of 'sealed', 'sequential'."
        ),
    }.items():
        ran = anw(*words)
        (line,) = lines(ran)
        assert (ran.code, line.startswith(message[:40]), line[-8:]) == (2, True, " --help)")


def test_a_key_is_never_overwritten(anw, root):
    path = root / "ann.key"
    assert anw("key", "new", path).code == 0
    before = path.read_bytes()
    ran = anw("key", "new", path)
    assert ran.code == 1
    assert ran.err == f"anw: {path} already exists: a key is never overwritten\n"
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o077 == 0


def test_bad_values_of_mark(anw, root):
    write_photos(root / "photos", number=1)
    anw("key", "new", root / "ann.key")

    def mark(*words, key="ann.key", folder="photos"):
        where = ("--key", root / key, "--out", root / "out")
        return anw("mark", root / folder, *where, "--mark", "hue", *words)

    for ran, message in {
        mark(key="no.key").err: f"no mark key at {root / 'no.key'}: the file does not exist",
        mark(folder="none").err: (
            f"folder {str(root / 'none')!r} is not there: give an existing folder"
        ),
        mark("--alpha", 2).err: "alpha must lie strictly between 0.0 and 1.0, got 2.0",
        mark("--slots", 1).err: "num_slots must be at least 2, got 1",
        mark("--beacon-value", "ab").err: (
            f"--beacon-value needs a commitment, and {root / 'out'} has none: run anw "
            "commit first"
        ),
        mark("--beacon", "drand:12").err: (
            "beacon must have the form drand:CHAIN HASH:ROUND, nist:CHAIN:PULSE or "
            "arbitrator:WHO, got 'drand:12'"
        ),
        mark("--no-labels", "--own-labels").err: (
            "--labels, --own-labels and --no-labels are mutually exclusive: class numbers come "
            "from one source"
        ),
        mark("--decimals", 2).err: (
            "decimals belongs to access 'rounded', which is not chosen"
        ),
    }.items():
        assert ran == f"anw: {message}\n"
    assert not (root / "out").exists()


@pytest.mark.parametrize("name", ["foo:bar", "the weather", "arbitrator", ""])
def test_a_beacon_of_no_known_kind_is_refused(anw, root, name):
    """It would make every verdict conditional; "" is what an unset shell variable gives."""
    write_photos(root / "photos", number=1)
    anw("key", "new", root / "ann.key")
    where = ("--key", root / "ann.key", "--out", root / "out")
    for command in ("commit", "mark"):
        ran = anw(command, root / "photos", *where, "--mark", "hue", "--beacon", name)
        assert f"nist:CHAIN:PULSE or arbitrator:WHO, got {name!r}" in one_line(ran, 2)
    ran = anw("commit", root / "photos", *where, "--mark", "hue", "--beacon", "drnad:12")
    assert "got 'drnad:12'; did you mean 'drand'?" in one_line(ran, 1)
    assert not (root / "out").exists()


def test_json_says_errors_too(anw, root):
    ran = anw("audit", root / "none", "--json")
    assert ran.code == 1
    line = f"the case folder {root / 'none'} is not there"
    assert json.loads(ran.out) == {"error": line, "exit_code": 1}
    assert ran.err == f"anw: {line}\n"


@pytest.fixture
def case(root):
    folder = root / "case"
    folder.mkdir()
    hand_over(root, folder)
    write_suspect(folder, root / "ann_marked" / "published")
    return folder


def one_line(ran, code):
    assert ran.code == code
    assert len(lines(ran)) == 1, ran.err
    return ran.err.removeprefix("anw: ").rstrip("\n")


def test_an_empty_case_says_what_is_missing(anw, root):
    folder = root / "case"
    folder.mkdir()
    assert one_line(anw("audit", folder), 1) == (
        f"{folder / 'owners'} must hold a folder for each owner, with manifest.json, "
        "commitment.json and originals/"
    )
    (folder / "owners" / "ann").mkdir(parents=True)
    assert one_line(anw("audit", folder), 1) == (
        f"{folder / 'owners' / 'ann' / 'commitment.json'} is not there: put what ann hands "
        f"over into {folder / 'owners' / 'ann'}"
    )


BAD_SUSPECTS = {
    "kind = 3": 'must name a kind, such as kind = "onnx"',
    "kind = ": "is not valid TOML:",
    'kind = "onxx"': (
        "kind must be one of onnx, torch, keras, http, recorded, callable, denoiser, workdir; "
        "got 'onxx'; did you mean 'onnx'?"
    ),
    'kind = "recorded"': "must name 'file' for kind 'recorded', got None",
    'kind = "recorded"\nfile = "no.npz"': "no.npz cannot be read: No such file or directory",
    'kind = "callable"\nfunction = "net_code/model.py"': (
        "function must be 'file.py:name', got 'net_code/model.py'"
    ),
    'kind = "callable"\nfunction = "net_code/model.py:nothing"': "has no function 'nothing'",
    'kind = "callable"\nfunction = "~no_such_user/model.py:answer"': (
        "~no_such_user/model.py is not there"
    ),
    'kind = "callable"\nfunction = "net_code/model.py:answer"': (
        "a declaration must name num_classes"
    ),
    'kind = "http"\nurl = "ftp://x"\n[declaration]\nnum_classes = 3': (
        "url must begin with http:// or https://, got 'ftp://x'"
    ),
    'kind = "http"\nurl = "http://x"\n[headers_from_env]\nAuth = "ANW_NO_SUCH"\n': (
        "the environment variable ANW_NO_SUCH for header Auth is not set"
    ),
    'kind = "callable"\nfunction = "net_code/model.py:answer"\nspeed = 3\n'
    "[declaration]\nnum_classes = 3": "has a field 'speed' that kind 'callable' does not know",
    'kind = "workdir"\nfile = "none"': "no checkpoints in",
}


@pytest.mark.parametrize("text", BAD_SUSPECTS)
def test_bad_suspect_files(anw, case, text):
    (case / "suspects" / "net.toml").write_text(text)
    line = one_line(anw("probe", case), 1)
    assert BAD_SUSPECTS[text] in line


BAD_OWNERS = {
    "manifest.json": ("{}", "is damaged or no", "is not the manifest that"),
    "commitment.json": ("[1]", "is damaged or no 'anw_jax commitment, version 1'", ""),
    "labels.csv": (
        "file,label\nphoto00.png,3.0\n",
        "the label '3.0', but a label is a class number",
        "",
    ),
}


@pytest.mark.parametrize("name", BAD_OWNERS)
def test_bad_owner_files(anw, case, name):
    text, *messages = BAD_OWNERS[name]
    (case / "owners" / "ann" / name).write_text(text)
    ran = anw("probe", case)
    assert ran.code == 1
    assert len(lines(ran)) == 1
    assert any(message and message in ran.err for message in messages) or "not a manifest" in (
        ran.err
    )


def test_labels_that_lack_a_photo(anw, case):
    (case / "owners" / "ann" / "labels.csv").write_text("photo00.png,0\n")
    assert one_line(anw("probe", case), 1) == (
        f"{case / 'owners' / 'ann' / 'labels.csv'} gives 'photo01.png' no label (11 of 12 "
        "photos have none): write '-' where no class fits, or remove the file to audit without "
        "labels"
    )


def test_a_photo_that_is_nobodys(anw, case):
    folder = case / "owners" / "ann" / "originals"
    stranger = data.read_photo(folder / "photo00.png")[::-1].copy()
    (folder / "stranger.png").write_bytes(data.png_of(stranger))
    assert "(name 'stranger.png') is not in the manifest" in one_line(anw("probe", case), 1)


def test_a_photo_whose_pixels_were_changed(anw, case):
    """Else an owner could hand over what looks natural under the secret hue alone."""
    path = case / "owners" / "ann" / "originals" / "photo03.png"
    photo = data.read_photo(path).copy()
    photo[0, 0, 0] ^= 1
    path.write_bytes(data.png_of(photo))
    assert one_line(anw("probe", case), 1) == (
        f"{case / 'owners' / 'ann'}: the pixels of photo03.png are not those committed to; get "
        "the very file that was marked, or take this one away: the photo is missing then"
    )


def test_no_labels(anw, case):
    (case / "owners" / "ann" / "labels.csv").unlink()
    assert anw("probe", case).code == 0
    assert one_line(anw("declare", case), 1) == (
        "owner 'ann' has no labels.csv: get the labels that were committed to"
    )
    assert one_line(anw("declare", case, "--no-labels"), 1) == (
        "the plan fixes labels 'owner' for suspect 'net', and does not leave labels 'model' "
        "open: leave these options out"
    )


def test_a_probe_with_errors_holds_the_audit_up(anw, case):
    text = (case / "suspects" / "net.toml").read_text()
    (case / "suspects" / "net.toml").write_text(
        text.replace("num_classes = 3", "num_classes = 4")
    )
    ran = anw("probe", case)
    assert ran.code == 7
    assert "net: NOT queried correctly" in ran.out
    assert "declares 4 classes and answers with 3" in ran.out
    after = f"correct the files in {case / 'suspects'}\nthen: anw probe {case}\n"
    assert anw("plan", case).out == f"steps done: probe\n{after}"
    refusal = one_line(anw("declare", case), 1)
    assert refusal.startswith("the probe found errors in how suspect 'net' is queried")
    assert f"{case / 'suspects' / 'net.toml'} and probe again" in refusal
    (case / "suspects" / "net.toml").write_text(text)
    assert "was changed since the probe: probe again" in one_line(anw("declare", case), 1)
    assert anw("probe", case).code == 0
    assert anw("plan", case).out == f"steps done: probe\nthen: anw declare {case}\n"
    assert anw("declare", case).code == 0


def test_a_rung_that_is_not_reached(anw, case):
    text = (case / "suspects" / "net.toml").read_text()
    body = text.replace('answer = "logits"', 'answer = "probabilities"')
    (case / "suspects" / "net.toml").write_text(body)
    line = one_line(anw("declare", case, "--access", "logits", "--despite-probe"), 1)
    assert line == (
        "the plan fixes kind 'probabilities' for suspect 'net', and does not leave kind "
        "'logits' open: leave these options out"
    )


def test_options_of_the_other_mode(anw, case):
    anw("probe", case)
    anw("declare", case)
    assert one_line(anw("audit", case, "--stop"), 2) == (
        "--opener and --stop belong to plans with mode 'sequential'"
    )


def test_a_spent_budget_has_a_code_of_its_own(anw, case):
    anw("probe", case)
    anw("declare", case, "--budget", 20)
    assert one_line(anw("audit", case), 6).startswith("the budget of 20 queries is spent")
    assert anw("audit", case, "--budget", 1000).code == 0


def test_a_changed_table_has_a_code_of_its_own(anw, case, root):
    for word in ("probe", "declare", "audit"):
        anw(word, case)
    (case / "tables" / "net.npz").write_bytes(b"no table")
    assert "net.npz was changed after blind.json named it" in one_line(
        anw("verdict", case, "--key", root / "ann.key"), 8
    )
    body = json.loads((case / "declared.json").read_text())
    (case / "declared.json").write_text(json.dumps(body | {"budget": 7}))
    assert one_line(anw("verdict", case, "--key", root / "ann.key"), 8).startswith(
        f"{case / 'declared.json'} is not the one that blind.json names"
    )


def test_keys_by_owner(anw, case, root):
    for word in ("probe", "declare", "audit"):
        anw(word, case)
    assert one_line(anw("verdict", case), 1) == (
        "give the key of each owner (ann) and of no other (--key); got none"
    )
    key = root / "ann.key"
    assert one_line(anw("verdict", case, "--key", key, "--key", key), 2) == (
        "--key is given twice for 'ann'"
    )


def test_one_process_at_a_time(anw, case, root):
    fcntl = pytest.importorskip("fcntl")
    for word in ("probe", "declare", "audit", "verdict"):
        words = (word, case) if word != "verdict" else (word, case, "--key", root / "ann.key")
        with (case / "LOCK").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert one_line(anw(*words), 1) == (
                f"another process is at work in {case}: wait for it"
            )
        # The key of these cases is an experiment key: what is shown is no evidence.
        assert anw(*words).code == (9 if word == "verdict" else 0)


def test_names_from_either_side_do_not_steer_the_terminal(anw, case):
    photo = case / "owners" / "ann" / "originals" / "photo00.png"
    photo.rename(photo.with_name("\x1b[2J\u202e.png"))
    photo.with_name("\x1b]0;shown\x07.png").write_bytes(b"no photo")
    line = one_line(anw("probe", case), 1)
    assert "\\x1b]0;shown\\x07.png is skipped" in line
    assert line.isprintable()
    text = (case / "suspects" / "net.toml").read_text()
    (case / "suspects" / "net.toml").write_text(
        text.replace("num_classes = 3", 'num_classes = 3\n"\\u001b[31m" = 1')
    )
    photo.with_name("\x1b]0;shown\x07.png").unlink()
    assert one_line(anw("probe", case), 1).isprintable()


@pytest.mark.parametrize("place", ["import sys; sys.exit(0)\n", "raise SystemExit\n"])
def test_a_suspect_that_exits_is_no_success(anw, case, place):
    model = case / "suspects" / "net_code" / "model.py"
    model.write_text(place + model.read_text())
    assert "model.py cannot be run (SystemExit" in one_line(anw("probe", case), 1)
    assert not (case / "probe.json").exists()
