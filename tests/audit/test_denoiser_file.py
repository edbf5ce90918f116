"""Diffusion models in a suspect's file: what is read, and what is refused in one line."""

import io
import json
import zipfile

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.conditions import (
    _CODE_FIXED_BLIND,
    _LOSS_FIXED_BLIND,
    _SCHEDULER_FIXED_BLIND,
    CaseBasis,
)
from anw_jax.audit.options import choose_rule
from anw_jax.audit.suspect_file import digest_of_model
from anw_jax.errors import AnwError, CaseError
from anw_jax.keys import Plan
from tests.audit.conftest import hand_over
from tests.audit.test_references import VALUE
from tests.suspects.test_denoiser import torch_net
from tests.suspects.test_schedule import DDPM

CODE = """
def guess(noisy, steps):
    return noisy * (steps / 1000)[:, None, None, None]
"""
FUNCTION = """kind = "denoiser"
function = "net.py:guess"
scheduler = "scheduler_config.json"
"""
FILE = FUNCTION.replace('function = "net.py:guess"', 'file = "unet.pt"')


@pytest.fixture
def opened(root):
    (root / "net.py").write_text(CODE)
    (root / "scheduler_config.json").write_text(json.dumps(DDPM))

    def call(text):
        (root / "net.toml").write_text(text)
        return audit.SuspectFile.load(root / "net.toml").open()

    return call


def test_defaults_of_a_function(opened):
    suspect = opened(FUNCTION)
    declaration = suspect.declaration
    assert (declaration.answer, declaration.value_range) == ("error", "signed")
    assert (declaration.layout, declaration.num_classes) == ("NHWC", None)
    wanted = "steps 50, 114, 178, 242, 306, 370, 434, 499, seed 0, with mirror images"
    assert declaration.identity.endswith(wanted)
    errors = suspect.answers(np.full((2, 4, 4, 3), 0.5, np.float32)).scores
    assert errors.shape == (2, 1)
    assert (errors > 0).all()


def test_everything_it_consists_of_is_in_the_digest(opened, root):
    first = opened(FUNCTION).declaration.digest
    changed = [
        opened(f"{FUNCTION}[denoising]\n{line}\n").declaration.digest
        for line in ("seed = 0x5a5a", "mirror = false", "steps = [50, 100]")
    ]
    changed.append(opened(f"{FUNCTION}[declaration]\ninput_size = [8, 8]\n").declaration.digest)
    (root / "net.py").write_text(CODE.replace("1000", "500"))
    changed.append(opened(FUNCTION).declaration.digest)
    (root / "net.py").write_text(CODE)
    (root / "scheduler_config.json").write_text(json.dumps({**DDPM, "beta_end": 0.03}))
    changed.append(opened(FUNCTION).declaration.digest)
    assert len({first, *changed}) == 1 + len(changed)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_file_and_a_file_of_weights(opened, root):
    torch, net = torch_net()
    torch.jit.script(net).save(root / "unet.pt")
    suspect = opened(FILE)
    assert suspect.declaration.layout == "NCHW"
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    expected = suspect.answers(images).scores
    torch.save(net.state_dict(), root / "weights.pt")
    (root / "make.py").write_text(
        "from tests.suspects.test_denoiser import torch_net\n\n\n"
        "def make():\n    return torch_net()[1]\n"
    )
    weights = FILE.replace('"unet.pt"', '"weights.pt"\nmodule = "make.py:make"')
    with pytest.warns(UserWarning, match="list it in"):
        again = opened(weights)
    np.testing.assert_allclose(again.answers(images).scores, expected, rtol=1e-5)
    assert again.declaration.digest != suspect.declaration.digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FUNCTION.replace("scheduler =", "schedule ="), "must name 'scheduler'"),
        (FUNCTION.replace("scheduler_config.json", "net.py"), "is not a scheduler's config"),
        (FUNCTION + "[denoising]\nsteps = [1000]\n", r"steps must be in \[0, 1000\)"),
        (FUNCTION + "[denoising]\nstep = [10]\n", "unexpected keyword argument 'step'"),
        (FUNCTION + '[declaration]\nanswer = "logits"\n', "must name num_classes"),
        (FUNCTION + "[declaration]\nnum_classes = 3\n", "num_classes must be left out"),
        (FUNCTION + '[declaration]\nidentity = "a"\n', "must name no identity"),
        (FUNCTION + '[options]\ndevice = "cpu"\n', "options of a function must be together"),
        (FUNCTION + "noise = 3\n", "has a field 'noise' that kind 'denoiser' does not know"),
        (FUNCTION.replace("guess", "gues"), "has no function 'gues'"),
        ('kind = "denoiser"\n', "must name 'file'"),
    ],
)
def test_files_that_are_refused(opened, text, words):
    with pytest.raises(AnwError, match=words):
        opened(text)


def test_a_torch_export_program_is_refused(opened, root):
    pytest.importorskip("torch", reason="torch is an optional library")
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("unet/archive_format", "pt2")
    (root / "unet.pt").write_bytes(body.getvalue())
    with pytest.raises(AnwError, match=r"a program of torch.export \(.pt2\)"):
        opened(FILE)


def test_a_plan_without_a_rule_for_errors(opened, root):
    declaration = opened(FUNCTION).declaration
    with pytest.raises(CaseError, match="answers with error, and the plan has rules only for"):
        choose_rule("net", declaration, {"ann": Plan("log_losses", 1e-3)}, {})


IN_FOLDER = FUNCTION.replace('"net.py', '"net/net.py').replace('"sched', '"net/sched')
REMOVES = """
def guess(noisy, steps):
    return noisy * (steps / {steps})[:, None, None, None]
"""


@pytest.fixture
def denoisers(root, case_dir, monkeypatch):
    """A case with a denoiser and, of the plan, another one as its reference."""

    def call(text, same="", is_fixed=False):
        if not is_fixed:  # as in plans made before they fixed the denoising error
            monkeypatch.setattr("anw_jax.audit.options.Denoising", lambda: None)
        for group, steps in (("suspects", 1000), ("references", 700)):
            folder = case_dir / group / "net"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "net.py").write_text(REMOVES.format(steps=steps))
            (folder / "scheduler_config.json").write_text(json.dumps(DDPM))
        (case_dir / "suspects" / "net.toml").write_text(IN_FOLDER + same)
        file = case_dir / "references" / "base.toml"
        file.write_text(text)
        digest = digest_of_model(file, {})
        hand_over(
            root,
            case_dir,
            beacon="arbitrator:Jane Doe",
            choices={"beacon": VALUE, "references": (digest,)},
        )
        audit.probe_case(audit.Case(case_dir))
        audit.declare(audit.Case(case_dir), audit.Options(beacons=(("ann", VALUE),)))
        return json.loads((case_dir / "declared.json").read_text())

    return call


SAME = "[denoising]\nsteps = [50, 100]\nseed = 3\n"


def test_a_reference_with_the_same_denoising_settings(denoisers, case_dir):
    assert list(denoisers(IN_FOLDER + SAME, SAME)["references"]) == ["base"]
    rules = audit.Case(case_dir).plan.as_json()["rules"]
    assert not any("denoising" in rule for rule in rules)
    assert _open_points(case_dir) == [LOSS]


@pytest.mark.parametrize(
    "same", ["", "[denoising]\nsteps = [50, 114, 178, 242, 306, 370, 434, 499]\nseed = 0\n"]
)
def test_a_plan_fixes_steps_and_noise(denoisers, case_dir, same):
    body = denoisers(IN_FOLDER, same, is_fixed=True)
    planned = {"steps": 8, "seed": 0, "mirror": True}
    assert body["suspects"]["net"]["rule"]["denoising"] == planned
    assert _open_points(case_dir) == [CODE_OPEN]  # the function, not steps and noise


PLANNED = "steps 50, 114, 178, 242, 306, 370, 434, 499, seed 0, with mirror images; "


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("steps = [50, 200, 350, 499]", "got steps 50, 200, 350, 499, seed 0, with"),
        ("seed = 1", "got steps 50, .*, seed 1, with mirror"),
        ("mirror = false", "got steps 50, .*, without mirror images"),
    ],
)
@pytest.mark.parametrize("who", ["suspect", "reference"])
def test_other_settings_than_the_plan_fixes(denoisers, case_dir, who, other, words):
    """Near lies: 4 of 8 steps, another noise, no mirror image."""
    other = f"[denoising]\n{other}\n"
    texts = ("", other) if who == "suspect" else (other, "")
    name = {"suspect": "net", "reference": "base"}[who]
    asked = f"{who} '{name}' must be asked for the denoising error "
    with pytest.raises(CaseError, match=f"{asked}.*{PLANNED}{words}"):
        denoisers(IN_FOLDER + texts[0], texts[1], is_fixed=True)
    assert not (case_dir / "probe.json").exists()


def test_a_scheduler_is_fixed_by_a_reference_of_the_plan_only(denoisers, case_dir):
    denoisers(IN_FOLDER, is_fixed=True)
    declared = json.loads((case_dir / "declared.json").read_text())
    declared["references_left_out"] = {"base": {"net": {"ann": "its file was lost"}}}
    (case_dir / "declared.json").write_text(json.dumps(declared))
    assert _open_points(case_dir) == [SCHEDULER, CODE_OPEN]


def _open_points(case_dir):
    basis = CaseBasis(audit.Case(case_dir))
    known = (LOSS, SCHEDULER, CODE_OPEN)
    return [text for text in basis.of("ann", "net", True).conditions if text in known]


LOSS, SCHEDULER, CODE_OPEN = (
    f"{text} (nobody stated that)"
    for text in (_LOSS_FIXED_BLIND, _SCHEDULER_FIXED_BLIND, _CODE_FIXED_BLIND)
)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("[denoising]\nseed = 5\n", "the denoising settings .* got .* seed 5"),
        ("[denoising]\nmirror = false\n", "the denoising settings .* without mirror"),
        ("[denoising]\nsteps = [50, 100]\n", "the denoising settings .* got steps 50, 100"),
        ("scheduler", "the scheduler of .*no suspect can be calibrated by 'base', take it"),
        ("callable", "the scheduler of .* got no scheduler: no suspect can be calibrated"),
    ],
)
def test_a_reference_with_other_denoising_settings(denoisers, case_dir, changed, words):
    """Of many seeds for the reference, one whose difference suits the hues could be taken."""
    text, folder = IN_FOLDER + changed, case_dir / "references" / "net"
    folder.mkdir(parents=True)
    if changed == "scheduler":
        text = IN_FOLDER.replace("scheduler_config.json", "other.json")
        other = {**DDPM, "beta_end": 0.03}
        (folder / "other.json").write_text(json.dumps(other))
    elif changed == "callable":
        text = 'kind = "callable"\nfunction = "net/loss.py:loss"\n'
        text += '[declaration]\nanswer = "error"\n'
        code = "def loss(batch):\n    return batch.mean((1, 2, 3))\n"
        (folder / "loss.py").write_text(code)
    with pytest.raises(CaseError, match=f"'base' must have {words}"):
        denoisers(text)
    assert not (case_dir / "declared.json").exists()
