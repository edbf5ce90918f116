"""`anw model barrier | protect`: from folders of outputs to marked files."""

import datetime
import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from anw_jax import data, schemes
from anw_jax.cli import outputs
from anw_jax.cli.main import run
from anw_jax.keys import MarkKey, Plan, check_scheme_commitment
from anw_jax.keys.beacons import read_beacon

VALUE = "0f" * 32
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "output_watermarks.md"


def smooth(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (count, 4, 4, 3)).astype(np.float64)
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    padded = np.pad(fine, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    shifts = [padded[:, i : i + 16, j : j + 16] for i in range(5) for j in range(5)]
    return np.mean(shifts, axis=0).astype(np.uint8)


def said(capsys) -> str:
    found = capsys.readouterr()
    return found.out + found.err


def write(folder, images) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        (folder / f"{number:03d}.png").write_bytes(data.png_of(image))


@pytest.fixture
def place(tmp_path):
    for name, seed in (("queries", 1), ("outputs", 2), ("public", 3), ("restored", 4)):
        write(tmp_path / name, smooth(seed, 12))
    (tmp_path / "model.onnx").write_bytes(b"a model")
    return tmp_path


def barrier(
    place,
    *more: str,
    bits=("mixing=6", "odd=12"),
    beacon=("--beacon", "arbitrator:Jane"),
) -> int:
    folders = [w for n in ("queries", "outputs", "public") for w in (f"--{n}", str(place / n))]
    return run(
        [
            *("model", "barrier", str(place / "mark"), "--base", str(place / "model.onnx")),
            *folders,
            *beacon,
            *(word for one in bits for word in ("--bits", one)),
            *more,
        ]
    )


def protect(place, *more: str) -> int:
    return run(
        [
            *("model", "protect", str(place / "mark"), "--outputs", str(place / "restored")),
            *("--out", str(place / "served"), "--beacon-value", VALUE, *more),
        ]
    )


def test_from_folders_to_marked_files_and_a_match(place, capsys):
    assert barrier(place, "--json") == 0
    commitment = json.loads(capsys.readouterr().out)["commitment"]
    assert protect(place, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["images"] == 12
    assert shown["psnr"] == pytest.approx(38.0, abs=3.0)
    plan = Plan.from_json(json.loads((place / "mark" / "mark.json").read_text())["plan"])
    key = MarkKey.load(place / "mark" / "mark.key")
    check_scheme_commitment(commitment, key, plan)
    decoder = schemes.barrier.load_decoder(place / "mark" / "decoder.npz")
    bits = schemes.keygen(key, decoder, plan, beacon=bytes.fromhex(VALUE))
    kernel = schemes.barrier.keyed_kernel(decoder, bits)
    for name, image in (("000.png", smooth(4, 12)[0]), ("011.png", smooth(4, 12)[11])):
        served = data.read_photo(place / "served" / name)
        np.testing.assert_array_equal(served, schemes.barrier.protect(kernel, image[None])[0])
    scores = schemes.barrier.scores(
        decoder, schemes.barrier.protect(kernel, decoder.outputs) / 255.0
    )
    assert np.sign(scores).tolist() == bits.signs.tolist()


def test_the_beacon_is_a_drand_round_two_hours_ahead_unless_one_is_named(place, capsys):
    assert barrier(place, beacon=("--beacon", "drand")) == 2
    assert "--beacon must have the form drand:CHAIN HASH:ROUND" in capsys.readouterr().err
    before = datetime.datetime.now(datetime.UTC)
    assert barrier(place, beacon=()) == 0
    name = json.loads((place / "mark" / "mark.json").read_text())["plan"]["beacon"]
    ahead = read_beacon(name).time - before
    assert abs(ahead - datetime.timedelta(hours=2)) < datetime.timedelta(minutes=5)
    said = capsys.readouterr().out
    assert f"at {read_beacon(name).address}: save that file" in said
    assert "then: anw model protect" in said


def test_the_strength_is_that_of_the_library_and_bits_are_named_by_family(place, capsys):
    strength = next(option for option in outputs.protect.params if option.name == "psnr")
    assert strength.default == schemes.barrier.DEFAULT_PSNR
    for text, message in (
        ("12", "must be FAMILY=NUMBER, got '12'"),
        ("even=3", "bits must be one of mixing, cross, odd"),
        ("mixing=400", "got 400: give public outputs with more detail, or fewer bits"),
    ):
        assert barrier(place, bits=[text]) != 0
        assert message in capsys.readouterr().err
        assert not (place / "mark").exists()


def test_a_family_that_is_given_twice_is_refused(place, capsys):
    """The last one won, in silence: 2 bits where the owner had also written 30."""
    assert barrier(place, bits=["odd=30", "mixing=6", "odd=2"]) == 2
    assert "--bits': is given twice for 'odd': 30 and 2" in said(capsys)
    assert not (place / "mark").exists()


def test_the_next_step_is_named(place, capsys):
    assert barrier(place) == 0
    assert "--beacon-value HEX --outputs UNMARKED" in capsys.readouterr().out
    assert protect(place) == 0
    text = said(capsys)
    assert "serve these, never the unmarked ones" in text
    assert f"give an arbitrator {place / 'mark' / 'mark.json'} and" in text


def test_a_service_marks_as_the_page_says(place, monkeypatch):
    assert barrier(place) == 0
    assert protect(place) == 0
    blocks = re.findall("```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if "load_decoder" in block]
    (place / "round.json").write_text(VALUE)
    monkeypatch.chdir(place)
    here = {"outputs": smooth(4, 12)}
    exec(code, here)
    for number, image in enumerate(here["served"]):
        written = data.read_photo(place / "served" / f"{number:03d}.png")
        np.testing.assert_array_equal(image, written)


def test_nothing_is_overwritten(place, capsys):
    assert barrier(place) == 0
    assert barrier(place) != 0
    assert "keys are never overwritten" in capsys.readouterr().err
    assert protect(place) == 0
    assert protect(place) != 0
    assert "it is never overwritten" in capsys.readouterr().err


def test_folders_that_do_not_fit_are_one_clear_error(place, capsys):
    (place / "queries" / "000.png").rename(place / "queries" / "100.png")
    assert barrier(place) != 0
    assert "must hold files of the same names" in capsys.readouterr().err
    (place / "public" / "000.png").write_bytes(data.png_of(smooth(1, 1)[0][:8]))
    (place / "queries" / "100.png").rename(place / "queries" / "000.png")
    assert barrier(place) != 0
    assert "must have one size" in capsys.readouterr().err
    assert not (place / "mark").exists()


def test_inputs_given_as_outputs_and_a_missing_model_are_one_clear_error(place, capsys):
    for image in (place / "queries").iterdir():
        (place / "outputs" / image.name).write_bytes(image.read_bytes())
    assert barrier(place) == 1
    assert "hold the same images: --outputs must hold the model's answers" in said(capsys)
    write(place / "answered", smooth(2, 12))
    (place / "model.onnx").unlink()
    assert barrier(place, "--outputs", str(place / "answered")) == 1
    assert "model.onnx is not there, or is no file: --base names" in said(capsys)
    assert not (place / "mark").exists()


def test_a_level_that_the_bits_cannot_reach_is_a_warning(place, capsys):
    assert barrier(place, bits=["mixing=6", "odd=13"]) == 0  # 19 bits
    assert "warning: 19 bits cannot reach the level 1e-06, which takes 20" in said(capsys)
    (place / "mark").rename(place / "old")
    assert barrier(place, bits=["mixing=6", "odd=14"]) == 0
    assert "warning" not in said(capsys)


def test_of_grey_outputs_is_said_what_to_give_instead(place, capsys):
    for path in (place / "public").iterdir():
        Image.open(path).convert("L").save(path)
    assert barrier(place, bits=()) == 1
    assert (
        "bits of cross must be at most 16, the number of its features that the whitening "
        "images excite and common changes do not, got 24: give public outputs in colour, which "
        "these are not, or fewer bits\n"
    ) in said(capsys)
    assert not (place / "mark").exists()
    assert barrier(place) == 0
    assert "warning: the outputs of --public are grey, and the mark puts colour" in said(capsys)


def test_what_an_owner_hands_over_too_much_or_too_little_is_named(place, capsys):
    assert barrier(place, bits=["mixing=6", "odd=30"]) == 0
    case = case_of(place, smooth(2, 12))
    ann = place / "case" / "owners" / "ann"
    (ann / "README.md").write_text("that of anw case new")
    assert run(["probe", case]) == 0
    assert "warning" not in said(capsys)
    (ann / "mark.key").write_bytes((place / "mark" / "mark.key").read_bytes())
    run(["probe", case])
    assert "ann holds mark.key: if that is the owner's key, give it back" in said(capsys)
    (ann / "decoder.npz").unlink()
    (ann / "mark.key").unlink()
    assert run(["probe", case]) == 1
    text = said(capsys)
    assert "decoder.npz is not there: the owner has it beside mark.json" in text
    assert "Errno" not in text


def test_a_model_that_was_changed_since_the_commitment_is_refused(place, capsys):
    assert barrier(place) == 0
    base = ("--base", str(place / "model.onnx"))
    (place / "model.onnx").write_bytes(b"a model, tuned")
    assert protect(place, *base) == 8
    assert "it was changed since the commitment" in capsys.readouterr().err
    assert not (place / "served").exists()
    (place / "model.onnx").write_bytes(b"a model")
    assert protect(place, *base) == 0


def test_a_changed_decoder_is_refused(place, capsys):
    assert barrier(place) == 0
    (place / "mark" / "decoder.npz").unlink()
    decoder = schemes.barrier.make_decoder(
        "0f" * 32, smooth(1, 12), smooth(2, 12), smooth(3, 12), bits={"odd": 4}
    )
    schemes.barrier.save_decoder(place / "mark" / "decoder.npz", decoder)
    assert protect(place) != 0
    assert "a setting was changed after the commitment" in capsys.readouterr().err
    assert not (place / "served").exists()


def case_of(place, answers, **files) -> str:
    """A case folder with one owner and one suspect's answers."""
    ann, suspects = place / "case" / "owners" / "ann", place / "case" / "suspects"
    ann.mkdir(parents=True)
    for name in ("mark.json", "decoder.npz"):
        (ann / name).write_bytes((place / "mark" / name).read_bytes())
    write(suspects / "found", answers)
    (suspects / "found.toml").write_text('kind = "answers"\nfolder = "found"\n')
    return str(place / "case")


def marked_outputs(place) -> np.ndarray:
    key = MarkKey.load(place / "mark" / "mark.key")
    plan = Plan.from_json(json.loads((place / "mark" / "mark.json").read_text())["plan"])
    decoder = schemes.barrier.load_decoder(place / "mark" / "decoder.npz")
    bits = schemes.keygen(key, decoder, plan, beacon=bytes.fromhex(VALUE))
    kernel = schemes.barrier.keyed_kernel(decoder, bits)
    return schemes.barrier.protect(kernel, decoder.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("is_thief", [True, False])
def test_an_arbitrator_judges_answers_as_he_judges_photos(place, capsys, is_thief):
    assert barrier(place, "--alpha", "1e-4", bits=["mixing=6", "odd=30"]) == 0
    case = case_of(place, marked_outputs(place) if is_thief else smooth(2, 12))
    assert run(["probe", case]) == 0
    assert run(["declare", case, "--beacon", VALUE]) == 0
    assert run(["audit", case]) == 0
    capsys.readouterr()
    code = run(["verdict", case, "--key", str(place / "mark" / "mark.key")])
    said = capsys.readouterr().out
    if is_thief:
        assert code == 10  # shown, on conditions: nothing was stated
        assert "made without outputs marked with this key, by whatever path" in said
    else:
        assert code in (3, 4)
    verdict = json.loads((place / "case" / "verdict.json").read_text())
    test = verdict["tests"]["ann"]["found"]
    assert (test["outcome"] == "shown") == is_thief
    # Whoever knows the bits could have written such a folder.
    assert any("recorded before the declaration" in text for text in test["conditions"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x[:-1], "one answer for each of the 12 committed queries, got 11"),
        (lambda x: x[:, :8], "answers must be images (16, 16, 3)"),
        (lambda x: np.zeros_like(x), "all 12 queries with one constant output"),
    ],
)
def test_answers_that_do_not_fit_fail_the_probe(place, capsys, change, text):
    assert barrier(place) == 0
    case = case_of(place, change(smooth(2, 12)))
    assert run(["probe", case]) != 0
    said = capsys.readouterr()
    assert text in said.out + said.err


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--outputs", "a"),
        ("--model", "a"),
        ("--serve", "80"),
        ("--outputs", "a", "--serve", "80"),
        ("--outputs", "a", "--out", "b", "--model", "c"),
        ("--outputs", "a", "--out", "b", "--model", "c", "--serve", "80"),
    ],
)
def test_a_folder_or_a_model_is_marked_and_not_both(anw, place, options):
    ran = anw("model", "protect", place / "mark", "--beacon-value", VALUE, *options)
    assert ran.code == 2
    assert "give --outputs and --out to mark a folder, or --model and --serve" in ran.err
