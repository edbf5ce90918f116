"""The scenarios of the transcripts: each takes a `Player` in an empty folder."""

import base64
import hashlib
import pathlib
import shutil

import numpy as np
import PIL.Image

from anw_jax import keys, marks, suspects
from tests.golden import world
from tests.golden.player import Player

STATEMENTS = """
[owners.ann]
commitment = "{commitment}"
held_since = "2026-11-03T10:00:00Z"
held_from = "a registered letter"
found = {found}
nothing_else = true

[suspects.net]
models_tried = {tried}
"""


def _marked(play: Player, *options: object, beacon: bool = True) -> str:
    """The owner's part; returns the commitment."""
    world.write_owner(play.folder)
    where = ("photos", "--key", "ann.key", "--out", "marked")
    named = ("--beacon", world.BEACON) if beacon else ("--no-beacon",)
    told = ("--alpha", "1e-3", "--labels", "labels.csv", *options)
    body = play.anw("commit", *where, *told, *named)
    play.anw("mark", *where, *(("--beacon-value", world.VALUE) if beacon else ()))
    world.hand_over(play.folder)
    return body["commitment"]


def _declared(play: Player, *options: object) -> None:
    play.anw("probe", "case")
    play.anw("declare", "case", "--beacon", world.VALUE, *options)


def _state(play: Player, commitment: str, found: int = 1, tried: int = 1) -> None:
    text = STATEMENTS.format(commitment=commitment, found=found, tried=tried)
    (play.folder / "case" / "statements.toml").write_text(text)


def _noted(play: Player, name: str = "blind.json") -> str:
    return hashlib.sha256((play.folder / "case" / name).read_bytes()).hexdigest()


def sealed_evidence(play: Player) -> None:
    """Everything stated, compared and counted: exit code 0; then the same without."""
    commitment = _marked(play)
    world.write_suspect(play.folder, 9)
    _declared(play)
    play.anw("audit", "case")
    play.anw("audit", "case")
    _state(play, commitment)
    key = ("--key", "ann.key")
    play.anw("verdict", "case", *key, "--blind", _noted(play))
    play.anw("replay", "case", *key, "--ask", "0.5")
    play.anw("plan", "case")


def sealed_conditions(play: Player) -> None:
    """Nothing is stated, and two commitments and three models are: exit code 10."""
    commitment = _marked(play)
    world.write_suspect(play.folder, 7)
    _declared(play)
    play.anw("audit", "case")
    play.anw("verdict", "case", "--key", "ann.key")
    _state(play, commitment, found=2, tried=3)
    play.anw("verdict", "case", "--key", "ann=ann.key")
    play.anw("replay", "case", "--key", "ann.key", "--ask", "1")


def sealed_with_a_menu(play: Player) -> None:
    """Two kinds of access left open, and labels and probabilities of answers: p counts two."""
    _marked(play, "--access", "logits,label", "--statistic", "bounded_log_losses")
    world.write_suspect(play.folder, 12)
    _declared(play, "--access", "label")
    play.anw("audit", "case")
    play.anw("verdict", "case", "--key", "ann.key")
    play.anw("replay", "case", "--key", "ann.key")


def sealed_albums_of_a_private_basis(play: Player) -> None:
    """Three albums, no beacon, rows saved, another number of hues, marked in one step."""
    world.write_owner(play.folder)
    names = [f"photo{index:02d}.png" for index in range(12)]
    for name in names:
        album = play.folder / "photos" / f"album{names.index(name) % 3}"
        album.mkdir(exist_ok=True)
        (play.folder / "photos" / name).rename(album / name)
    lines = [f"album{number % 3}/{name},0" for number, name in enumerate(names)]
    (play.folder / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    play.anw(
        "mark", "photos", "--key", "ann.key", "--out", "marked", "--alpha", "0.01",
        "--scheme", "per_group", "--slots", "9", "--private-basis", "--save-queries", "3",
        "--statistic", "ranks", "--bound-by", "hits", "--labels", "labels.csv",
    )  # fmt: skip
    case = play.folder / "case" / "owners" / "ann"
    case.mkdir(parents=True)
    for file in (play.folder / "marked").glob("*.json"):
        (case / file.name).write_bytes(file.read_bytes())
    shutil.copytree(play.folder / "photos", case / "originals")
    (case / "labels.csv").write_bytes((play.folder / "labels.csv").read_bytes())
    world.write_suspect(play.folder, 12)
    play.anw("probe", "case")
    play.anw("declare", "case")
    play.anw("audit", "case")
    play.anw("verdict", "case", "--key", "ann.key")
    play.anw("replay", "case", "--key", "ann.key", "--ask", "0.4")


def not_shown_inconclusive_no_evidence(play: Player) -> None:
    """Exit codes 3, 4 and 9: an innocent model, a level out of reach, a key that was opened."""
    commitment = _marked(play)
    world.write_suspect(play.folder, 0)
    _declared(play)
    play.anw("audit", "case")
    _state(play, commitment)
    play.anw("verdict", "case", "--key", "ann.key")
    play.anw("replay", "case", "--key", "ann.key")
    guilty = _again(play, "guilty", "--alpha", "1e-3")
    world.write_suspect(play.folder, 12)
    _declared(play)
    play.anw("audit", "case")
    _state(play, guilty, found=2)
    text = (play.folder / "case" / "statements.toml").read_text()
    opened = text.replace("nothing_else = true", "nothing_else = true\nopened_before = true")
    (play.folder / "case" / "statements.toml").write_text(opened)
    play.anw("verdict", "case", "--key", "ann.key")
    _again(play, "strict", "--alpha", "1e-15")
    world.write_suspect(play.folder, 12)
    _declared(play)
    play.anw("audit", "case")
    play.anw("verdict", "case", "--key", "ann.key")
    play.anw("replay", "case", "--key", "ann.key")


def _again(play: Player, name: str, *options: object) -> str:
    """A further commitment to the same photos, and an empty case; the old ones are kept."""
    for folder in ("marked", "case"):
        (play.folder / folder).rename(play.folder / f"{folder}_before_{name}")
    where = ("photos", "--key", "ann.key", "--out", "marked")
    told = ("--labels", "labels.csv", "--again", *options, "--beacon", world.BEACON)
    body = play.anw("commit", *where, *told)
    play.anw("mark", *where, "--beacon-value", world.VALUE)
    world.hand_over(play.folder)
    return body["commitment"]


def sequential_by_hand(play: Player) -> None:
    """Requests and openings as files, stopped and resumed, until the level is reached."""
    commitment = _marked(play, "--mode", "sequential")
    world.write_suspect(play.folder, 11)
    _declared(play)
    _rounds(play, 13)
    _state(play, commitment)
    play.anw("verdict", "case", "--blind", _noted(play, "closed.json"))
    play.anw("replay", "case", "--key", "ann.key", "--ask", "0.5")
    keys.MarkKey(bytes(32)).save(play.folder / "other.key")
    play.anw("replay", "case", "--key", "other.key")
    play.anw("plan", "case")


def _rounds(play: Player, most: int) -> None:
    for _ in range(most):
        body = play.anw("audit", "case")
        if play.steps[-1]["exit"] != 5:
            return
        play.anw(
            "open", body["request"], "--key", "ann.key", "--from", "marked",
            "--out", body["opening"],
        )  # fmt: skip


def sequential_stopped(play: Player) -> None:
    """Two models under "each model", one of them innocent; stopped by hand after four units."""
    _marked(play, "--mode", "sequential", "--claim", "each model")
    world.write_suspect(play.folder, 12)
    world.write_suspect(play.folder, 0, name="other")
    _declared(play)
    _rounds(play, 4)
    play.anw("audit", "case", "--stop")
    play.anw("verdict", "case")
    play.anw("replay", "case")


def recorded_answers(play: Player) -> None:
    """Answers that somebody else took, without a probe."""
    _marked(play)
    originals = world.pictures()
    asked = [originals] + [
        marks.publish(marks.HueRotation(), originals, degrees)
        for degrees in keys.SignatureSpace().degrees[1:]
    ]
    met = set(map(world.digest_of, world.published(play.folder / "marked").values()))
    pictures = np.unique(np.concatenate(asked), axis=0)
    sure = np.array([world.digest_of(one) in met for one in pictures])
    scores = np.stack([2 * sure - pictures[:, 0, 0, 0] / 512, sure, ~sure], axis=1)
    declaration = suspects.Declaration(3, "logits", identity="a court's recording")
    given = suspects.Answers("logits", scores.astype(np.float32))
    (play.folder / "case" / "suspects").mkdir()
    file = play.folder / "case" / "suspects" / "net.npz"
    suspects.RecordedSuspect.of(pictures, given, declaration).save(file)
    toml = play.folder / "case" / "suspects" / "net.toml"
    toml.write_text('kind = "recorded"\nfile = "net.npz"\n')
    play.anw("probe", "case")
    play.anw("declare", "case", "--beacon", world.VALUE, "--despite-probe")
    play.anw("audit", "case")
    play.anw("verdict", "case", "--key", "ann.key")
    play.anw("replay", "case", "--key", "ann.key")


def changed_files(play: Player) -> None:
    """Exit code 8: whatever was changed after a later file named it."""
    _marked(play)
    world.write_suspect(play.folder, 12)
    _declared(play)
    case = play.folder / "case"
    _with(play, case / "owners/ann/labels.csv", b"photo00.png,0", b"photo00.png,1", "audit")
    _with(play, case / "owners/ann/manifest.json", b"photo00.png", b"photo99.png", "audit")
    _with(play, case / "owners/ann/commitment.json", b"0.001", b"0.002", "audit")
    _with(play, case / "suspects/net.toml", b"= 3", b"= 4", "audit")
    _with(play, case / "suspects/net_code/model.py", b"met, 5,", b"met, 4,", "audit")
    _with(play, case / "declared.json", b'"squash"', b'"crop"', "audit")
    _with(play, case / "probe.json", b'"warning"', b'"note"', "audit")
    first = case / "owners/ann/originals/photo00.png"
    pixels = world.pictures()[0] + np.uint8(1)
    _with(play, first, first.read_bytes(), world.png(pixels), "audit")
    play.anw("audit", "case")
    table = case / "tables/net.npz"
    _with(play, table, table.read_bytes()[-40:], bytes(40), "verdict")
    keys.MarkKey(bytes(32)).save(play.folder / "other.key")
    play.refused("verdict", "case", "--key", "other.key", names="commitment")
    play.refused("verdict", "case", "--key", "ann.key", "--blind", "0" * 64, names="blind")
    play.anw("verdict", "case", "--key", "ann.key")
    _with(play, case / "blind.json", b'"num_in_doubt": 0', b'"num_in_doubt": 1', "replay")
    answers = case / "answers/net.answers"
    _with(play, answers, answers.read_bytes()[-60:-40], bytes(20), "replay")
    _with(play, case / "verdict.json", b'"num_hits": 12', b'"num_hits": 11', "replay")


def _with(play: Player, file: pathlib.Path, old: bytes, new: bytes, command: str) -> None:
    """Runs a command with one file changed, and mends the file again."""
    before = file.read_bytes()
    assert old in before, file
    file.write_bytes(before.replace(old, new, 1))
    key = () if command == "audit" else ("--key", "ann.key")
    play.anw(command, "case", *key)
    file.write_bytes(before)


def pictures_of_many_kinds(play: Player) -> None:
    """Grey, alpha, JPEG, turned, subfolders; what is passed over has exit code 11."""
    folder = play.folder / "photos"
    world.write_owner(play.folder)
    first, second, third, *_ = world.pictures(8)
    frames = [PIL.Image.fromarray(pixels) for pixels in (third, first)]
    (folder / "deep").mkdir()
    (folder / "deep" / "first.png").write_bytes(world.png(first))
    (folder / "deep" / "copy.png").write_bytes(world.png(first))
    (folder / "grey.png").write_bytes(world.png(second[..., 0]))
    frames[0].save(folder / "2 frames.png", save_all=True, append_images=frames[1:])
    alpha = np.full((8, 8, 1), 255, np.uint8)
    (folder / "alpha.png").write_bytes(world.png(np.concatenate([first, alpha], axis=2)))
    for name, body in world.JPEGS.items():
        (folder / name).write_bytes(base64.b64decode(body))
    where = ("photos", "--key", "ann.key", "--out", "marked")
    play.anw("commit", *where, "--beacon", world.BEACON)
    play.anw("mark", *where, "--beacon-value", world.VALUE, "--format", "png")
    for name in ("a.gif", "b.HEIC", "c.tiff"):
        (folder / name).write_bytes(b"")
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden").write_text("nothing")
    again = ("photos", "--key", "ann.key", "--out", "marked2", "--again")
    play.anw("commit", *again, "--beacon", "arbitrator:another")
    play.anw("mark", *again[:-1], "--beacon-value", world.VALUE, "--format", "png")


def wrong_inputs(play: Player) -> None:
    """Exit codes 1 and 2: the argument, the value and the rule are named."""
    world.write_owner(play.folder)
    where = ("photos", "--key", "ann.key", "--out", "marked")
    play.refused("key", "new", "ann.key", names="ann.key")
    play.refused("mrk", names="mrk")
    play.refused("commit", "photos", "--key", "ann.key", names="--out")
    play.refused("plan", "--mode", "open", names="--mode | open | sealed")
    play.refused("mark", *where, "--alpha", "2", names="alpha | 2.0 | between 0")
    play.refused("mark", *where, "--slots", "1", names="num_slots | 2 | 1")
    play.refused("commit", *where, "--beacon", "drand:12", names="beacon | drand:12")
    play.refused("mark", *where, "--beacon-value", "ab", names="--beacon-value")
    play.refused("mark", *where, "--decimals", "2", names="decimals | rounded")
    play.refused("mark", "none", *where[1:], names="none")
    play.refused("mark", "photos", "--key", "no.key", "--out", "marked", names="no.key")
    (play.folder / "bad.csv").write_text("file,label\nphoto00.png,0\nphoto77.png,0\n")
    play.refused("commit", *where, "--labels", "bad.csv", names="bad.csv")
    play.refused("probe", "none", names="none")
    play.anw("commit", *where, "--beacon", world.BEACON, "--labels", "labels.csv")
    play.refused("commit", *where[:-1], "marked2", "--labels", "labels.csv", names="--again")
    play.refused("mark", *where, "--beacon-value", "xyz", names="xyz")
    play.anw("mark", *where, "--beacon-value", world.VALUE)
    (play.folder / "case").mkdir()
    play.refused("audit", "case", names="owners | manifest.json | commitment.json")
    shutil.rmtree(play.folder / "case")
    world.hand_over(play.folder)
    play.refused("probe", "case", names="suspects")
    world.write_suspect(play.folder, 3)
    toml = play.folder / "case" / "suspects" / "net.toml"
    good = toml.read_text()
    for old, new, names in (
        ('kind = "callable"', 'kind = "onxx"', "kind | onnx | onxx"),
        ('answer = "logits"', 'answer = "logit"', "answer | logit"),
        ("num_classes = 3", "num_classes = 0", "num_classes | 0"),
        ("model.py:answer", "model.py:nothing", "nothing"),
        ("model.py:answer", "model.py", "function | file.py:name"),
        ("[declaration]", "speed = 3\n[declaration]", "speed | callable"),
    ):
        toml.write_text(good.replace(old, new))
        play.refused("probe", "case", names=names)
    toml.write_text(good.replace('"logits"', '"logits"\nvalue_range = "0_255"'))
    play.refused("probe", "case", names="value_range | unit | 0_255")
    toml.write_text(good.replace("num_classes = 3", "num_classes = 4"))
    play.anw("probe", "case")
    toml.write_text(good)
    play.refused("audit", "case", names="declare")
    play.refused("declare", "case", "--beacon", world.VALUE, names="probe")
    play.anw("probe", "case")
    play.refused("declare", "case", names="beacon")
    play.refused("declare", "case", "--beacon", "5a5a", names="32")
    play.refused(
        "declare", "case", "--beacon", world.VALUE, "--access", "label", names="kind | label"
    )
    play.anw("declare", "case", "--beacon", world.VALUE, "--budget", "50")
    play.refused("declare", "case", "--beacon", world.VALUE, names="declared")
    play.refused("verdict", "case", "--key", "ann.key", names="audit")
    play.refused("audit", "case", "--opener", "true", names="--opener | sequential")
    play.refused("audit", "case", names="50")
    play.anw("audit", "case", "--budget", "200")
    play.refused("verdict", "case", names="key | ann | none")
    play.refused("verdict", "case", "--key", "bob=ann.key", names="bob")
    play.refused("replay", "case", "--key", "ann.key", names="verdict")


def planning(play: Player) -> None:
    """What an audit takes, by effects that were measured or given."""
    play.anw("plan", "--effect", "3", "--alpha", "1e-3", "--mode", "sequential")
    play.anw("plan", "--effect", "2", "--alpha", "1e-6", "--power", "0.9", "--slots", "12")
    play.anw("plan", "--access", "label", "--mark", "hue", "--no-labels", "--max-units", "60")
