"""A case of models, from the probe to the verdict, with networks that cost nothing."""

import dataclasses
import json

import numpy as np
import pytest

from anw_jax.cli.main import run
from anw_jax.errors import CaseError, ChangedFileError, CommitmentError
from anw_jax.keys import MarkKey, commit_scheme
from anw_jax.schemes import judging, multitask, systems, weights_digest
from anw_jax.schemes.case import ModelCase, ModelMark
from anw_jax.schemes.judging import declare_models, judge_models, probe_models, seal_models
from tests.schemes.conftest import tiny_net

VALUE = bytes(range(32))
STATED = """
[owners.ann]
commitment = "{commitment}"
held_since = "2026-11-01T10:00:00Z"
value_appeared = "2026-11-02T10:00:00Z"
found = 1
nothing_else = true
[suspects.found]
models_tried = 1
"""


def save(path, net) -> None:
    np.savez(path, **net.variables)


@pytest.fixture
def tiny_system(monkeypatch):
    return use_tiny_networks(monkeypatch)


def use_tiny_networks(monkeypatch) -> systems.System:
    """The multi-task system with networks of two matrices in the place of real ones."""

    def read(path):
        with np.load(path) as arrays:
            return dataclasses.replace(tiny_net(0), **dict(arrays))

    def open_own(decoder, plan, folder):
        net = read(folder / "base.npz")
        decoder.check_base(weights_digest(net.variables))
        return net

    def open_suspect(file):
        net = read(file.path.parent / file.fields["file"])
        return systems.OpenModel(weights_digest(net.variables), net)

    def problems(decoder, base, net):
        try:
            usable = multitask.check_readable(decoder, base, net).num_usable
        except ValueError as error:
            return [str(error)], []
        return ([] if usable > 1 else ["no finite answers"]), []

    entry = systems.System(
        multitask.Decoder.from_json, open_own, open_suspect, problems, multitask.extract
    )
    monkeypatch.setitem(systems.SYSTEMS, "multitask", entry)
    return entry


class Folder:
    """A case folder with one owner, "ann", and one suspect, "found"."""

    def __init__(self, path, owner, suspect, key: MarkKey):
        self.path, self.owner, self.key = path, owner, key
        ann = path / "owners" / "ann"
        ann.mkdir(parents=True)
        (path / "suspects").mkdir()
        self.commitment = commit_scheme(key, owner.plan)
        mark = ModelMark(owner.plan, self.commitment, owner.decoder.as_json())
        (ann / "mark.json").write_text(json.dumps(mark.as_json()))
        save(ann / "base.npz", owner.base)
        self.add("found", suspect)

    def add(self, name, net) -> None:
        suspects = self.path / "suspects"
        (suspects / f"{name}.toml").write_text(f'kind = "network"\nfile = "{name}.npz"\n')
        save(suspects / f"{name}.npz", net)

    def state(self) -> None:
        (self.path / "statements.toml").write_text(STATED.format(commitment=self.commitment))

    @property
    def case(self) -> ModelCase:
        return ModelCase(self.path)

    def sealed(self) -> dict:
        probe_models(self.case)
        declare_models(self.case, {"ann": VALUE})
        return seal_models(self.case)

    def verdict(self, **options) -> dict:
        return judge_models(self.case, {"ann": self.key}, **options)


@pytest.fixture
def folder(tmp_path, owner_class, tiny_system):
    key = MarkKey.generate()
    owner = owner_class(key)
    return Folder(tmp_path / "case", owner, owner.release(owner.bits()), key)


def test_a_copy_is_shown_and_all_stated_it_is_evidence(folder):
    folder.state()
    folder.sealed()
    body = folder.verdict(blind=folder.case.digest("blind.json"))
    test = body["tests"]["ann"]["found"]
    assert test["outcome"] == body["corrected"]["outcome"] == "shown"
    assert test["log10_p"] < -12
    assert test["standing"] == "evidence under the committed plan"
    assert "made without the marked model or anything derived from it" in test["text"]


def test_what_is_not_stated_is_a_condition(folder):
    folder.sealed()
    test = folder.verdict()["tests"]["ann"]["found"]
    assert test["standing"].startswith("holds only if")
    assert len(test["conditions"]) == 6
    assert any("no digest noted before" in text for text in test["conditions"])


def test_innocent_models_are_not_shown_and_all_tests_are_corrected(folder, nets):
    folder.add("other", nets.fresh(41))
    folder.add("tuned", nets.tuned(folder.owner.base, 5))
    with pytest.raises(CaseError, match="claim 'one model' and the case has 3 suspects"):
        folder.sealed()
    (folder.path / "suspects" / "found.toml").unlink()
    (folder.path / "suspects" / "other.toml").unlink()
    folder.sealed()
    body = folder.verdict()
    assert body["corrected"]["outcome"] == "not shown"


def test_each_model_claims_are_corrected_over_suspects(
    tmp_path, owner_class, tiny_system, nets
):
    key = MarkKey.generate()
    owner = owner_class(key, claim="each model")
    folder = Folder(tmp_path / "case", owner, owner.release(owner.bits()), key)
    folder.add("other", nets.fresh(41))
    folder.sealed()
    body = folder.verdict()
    assert body["corrected"]["named"] == [["ann", "found"]]
    assert body["corrected"]["level"] == owner.plan.alpha / 2
    assert body["tests"]["ann"]["other"]["outcome"] == "not shown"


def test_the_models_tried_multiply_p(folder):
    folder.state()
    folder.sealed()
    once = folder.verdict()["tests"]["ann"]["found"]["p_value"]
    path = folder.path / "statements.toml"
    path.write_text(path.read_text().replace("models_tried = 1", "models_tried = 50"))
    assert folder.verdict()["tests"]["ann"]["found"]["p_value"] == pytest.approx(50 * once)


def test_a_suspect_of_another_architecture_is_one_clear_error(folder, nets):
    def with_pixels(images):
        return (folder.owner.base.hidden(images).reshape(len(images), 4, 4, 6),)

    owner = folder.owner
    errors, _ = systems.SYSTEMS["multitask"].problems(owner.decoder, owner.base, with_pixels)
    assert errors == [
        "the suspect must have the architecture of w0: at the tap 'second' it answers 160 "
        "pictures with 4 cells, w0 160 with 1"
    ]


def test_a_suspect_without_finite_answers_fails_the_probe(folder, nets):
    broken = nets.fresh(3)
    folder.add("found", dataclasses.replace(broken, second=broken.second * np.nan))
    assert not probe_models(folder.case)["suspects"]["found"]["is_fit"]
    with pytest.raises(CaseError, match="the probe found errors"):
        declare_models(folder.case, {"ann": VALUE})
    declare_models(folder.case, {"ann": VALUE}, despite_probe=True)
    assert seal_models(folder.case)["suspects"]["found"]["owners"]["ann"]["num_unusable"] == 96
    test = folder.verdict()["tests"]["ann"]["found"]
    assert test["outcome"] == "inconclusive"
    assert any("probe" in text for text in test["conditions"])


def test_a_report_of_a_suspect_that_is_not_there_is_no_crash(folder):
    folder.state()
    body = probe_models(folder.case)
    body["suspects"]["another"] = body["suspects"]["found"]
    (folder.path / "probe.json").write_text(json.dumps(body))
    declare_models(folder.case, {"ann": VALUE})
    seal_models(folder.case)
    test = folder.verdict(blind=folder.case.digest("blind.json"))["tests"]["ann"]["found"]
    assert (test["outcome"], test["conditions"]) == ("shown", [])


@pytest.mark.parametrize("changed", [{}, {"weights": "0" * 64}, {"is_fit": False}])
def test_what_was_not_probed_as_it_is_leaves_a_condition(folder, changed):
    """As in a bundle that somebody else made; `declare_models` refuses such a probe."""
    body = probe_models(folder.case)
    declared = declare_models(folder.case, {"ann": VALUE})
    assert judging._of_probe(folder.case, declared, "found") == []
    report = body["suspects"].pop("found")
    body["suspects"] = {"found": report | changed} if changed else {"#found": report}
    (folder.path / "probe.json").write_text(json.dumps(body))
    assert judging._of_probe(folder.case, declared, "found") == [judging.OVERRIDDEN]


def test_a_declared_value_that_is_no_number_is_one_clear_error(folder):
    folder.sealed()
    for name, change in (
        ("declared.json", lambda: {"beacons": {"ann": "0x"}}),
        ("blind.json", lambda: {"previous": folder.case.digest("declared.json")}),
    ):
        path = folder.path / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change()))
    with pytest.raises(CaseError, match=r"beacons.ann must be hexadecimal digits, got '0x'"):
        folder.verdict()


def swap_suspect(folder):
    save(folder.path / "suspects" / "found.npz", folder.owner.base)


def change_mark(folder):
    path = folder.path / "owners" / "ann" / "mark.json"
    path.write_text(path.read_text() + "\n")


def change_scores(folder):
    np.savez(folder.case.scores_file("found"), ann=np.ones(96, np.float32))


@pytest.mark.parametrize("change", [swap_suspect, change_mark, change_scores])
def test_nothing_may_change_after_the_declaration(folder, change):
    folder.sealed()
    change(folder)
    with pytest.raises(ChangedFileError):
        folder.verdict()
    assert not folder.case.has("verdict.json")


def test_the_digest_noted_at_the_audit_is_compared(folder):
    folder.sealed()
    with pytest.raises(ChangedFileError, match="is not the one noted at the audit"):
        folder.verdict(blind="0f" * 32)


def test_another_key_opens_nothing(folder):
    folder.sealed()
    with pytest.raises(CommitmentError, match="does not open"):
        judge_models(folder.case, {"ann": MarkKey.generate()})
    assert not folder.case.has("verdict.json")


def test_another_decoder_or_clean_model_is_refused(folder, nets):
    base = folder.path / "owners" / "ann" / "base.npz"
    save(base, folder.owner.release(folder.owner.bits()))
    with pytest.raises(CommitmentError, match="base must be the clean model"):
        probe_models(folder.case)
    save(base, folder.owner.base)
    path = folder.path / "owners" / "ann" / "mark.json"
    body = json.loads(path.read_text())
    body["decoder"]["side"] = 3
    path.write_text(json.dumps(body))
    with pytest.raises(CommitmentError, match="the plan fixes the decoder"):
        probe_models(folder.case)


def test_one_key_twice_in_a_case_is_refused(folder):
    (folder.path / "owners" / "bob").mkdir()
    for name in ("mark.json", "base.npz"):
        body = (folder.path / "owners" / "ann" / name).read_bytes()
        (folder.path / "owners" / "bob" / name).write_bytes(body)
    probe_models(folder.case)
    with pytest.raises(CaseError, match="have the same commitment"):
        declare_models(folder.case, {"ann": VALUE, "bob": VALUE})


def test_an_unknown_system_is_named(folder, monkeypatch):
    monkeypatch.setattr(systems, "SYSTEMS", {})
    with pytest.raises(CaseError, match="must name a watermark in models"):
        probe_models(folder.case)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "give its value"),
        ({"ann": b"12"}, "must have 32 bytes"),
        ({"bob": VALUE}, "owner must be one of ann"),
    ],
)
def test_the_beacons_value_must_fit(folder, values, text):
    probe_models(folder.case)
    with pytest.raises((CaseError, ValueError), match=text):
        declare_models(folder.case, values)
    assert not folder.case.has("declared.json")


def test_the_steps_keep_their_order(folder):
    with pytest.raises(CaseError, match="probe the suspects first"):
        declare_models(folder.case, {"ann": VALUE})
    with pytest.raises(CaseError, match="declare the audit first"):
        seal_models(folder.case)
    probe_models(folder.case)
    declare_models(folder.case, {"ann": VALUE})
    with pytest.raises(CaseError, match="sealed before any key is opened"):
        folder.verdict()
    with pytest.raises(CaseError, match="is declared once"):
        probe_models(folder.case)


def test_the_commands_of_cases_of_photos_judge_models_too(folder, tmp_path, capsys):
    folder.key.save(tmp_path / "one.key")
    path = str(folder.path)
    assert run(["probe", path]) == 0
    assert run(["probe", path, "--photos", "9"]) == 2
    assert "--photos is for cases of photos" in capsys.readouterr().err
    assert run(["declare", path, "--beacon", VALUE.hex()]) == 0
    assert run(["audit", path]) == 0
    noted, said = folder.case.digest("blind.json"), capsys.readouterr().out
    assert f"then: anw audit {path}" in said
    assert said.endswith(f"then: anw verdict {path} --key KEY --blind {noted}\n")
    code = run(["verdict", path, "--key", str(tmp_path / "one.key"), "--blind", noted])
    assert code == 10  # nothing is stated yet
    assert "ann against found: shown" in capsys.readouterr().out
    words = ["bundle", path, "--out", str(tmp_path / "x.zip")]
    assert run([*words, "--with-names"]) == 2
    assert "--with-names is for cases of photos" in capsys.readouterr().err
    assert run(words) == 1
    assert "give the key of each owner" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["key1.tsr", "mark.json.tsr"])
def test_a_stamp_under_a_name_that_nothing_reads_is_named(folder, name):
    ann = folder.path / "owners" / "ann"
    for known in ("mark.tsr", "mark.json.ots", "mark.json.sig", "base.npz.sig", ".hidden"):
        (ann / known).write_bytes(b"")
    _ = folder.case.owners  # no warning, which would be an error
    (ann / name).write_bytes(b"")
    text = rf"ann holds files that nothing reads: {name} \(a time stamp of mark.json must be"
    with pytest.warns(UserWarning, match=text):
        probe_models(folder.case)


def test_anw_audit_shows_how_many_suspects_are_read(folder, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        "anw_jax.cli.output.ProgressLine.__call__", lambda _, *numbers: seen.append(numbers)
    )
    probe_models(folder.case)
    declare_models(folder.case, {"ann": VALUE})
    assert run(["audit", str(folder.path)]) == 0
    assert seen == [(0, 1), (1, 1)]
    assert capsys.readouterr().err == ""


def test_anw_plan_says_what_comes_next(folder, capsys):
    def said() -> str:
        assert run(["plan", str(folder.path)]) == 0
        return capsys.readouterr().out

    path = folder.path
    assert said() == f"steps done: none\nthen: anw probe {path}\n"
    assert run(["probe", str(path)]) == 0
    after = f"\nthen: anw declare {path} --beacon FILE\n"
    assert capsys.readouterr().out.endswith(after)
    assert said() == f"steps done: probe{after}"
    folder.sealed()
    assert said().endswith(f"\nthen: anw verdict {path} --key KEY --blind SHA256\n")
    folder.verdict()
    assert said().endswith(f"\nthen: anw report {folder.path}\n")
