"""Customers' copies judged by the case commands, from the probe to the verdict."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest

from anw_jax.cli.main import run
from anw_jax.errors import CaseError, ChangedFileError, CommitmentError
from anw_jax.keys import Bits, MarkKey, commit_scheme
from anw_jax.schemes import copies, fingerprint, systems, weights_digest
from anw_jax.schemes.case import ModelCase, ModelMark
from anw_jax.schemes.fingerprint import Issue, RefusedDisputeError, records
from anw_jax.schemes.judging import declare_models, judge_models, probe_models, seal_models
from tests.schemes.fingerprint.conftest import VALUE, Owner, tiny_base
from tests.schemes.fingerprint.world import World, leaked, load, save

STATED = """
[owners.ann]
commitment = "{commitment}"
held_since = "2026-11-01T10:00:00Z"
found = 1
nothing_else = true
[suspects.found]
models_tried = 1
"""


@pytest.fixture(autouse=True)
def plain_files(monkeypatch):
    use_plain_files(monkeypatch)


def use_plain_files(monkeypatch) -> None:
    """Networks are files of two kernels, which no class of `models` describes."""

    def open_suspect(file):
        network = load(file.path.parent / file.fields["file"])
        return systems.OpenModel(weights_digest(network[1]), network)

    monkeypatch.setattr(copies, "open_base", lambda folder: load(folder / "base.npz"))
    monkeypatch.setattr(copies, "load_network", load)
    entry = dataclasses.replace(systems.SYSTEMS["fingerprint"], open_suspect=open_suspect)
    monkeypatch.setitem(systems.SYSTEMS, "fingerprint", entry)


class Folder:
    """A case with the owner "ann", whose customers are those of a `World`."""

    def __init__(self, path, world: World):
        self.path, self.world, self.own = path, world, world.own
        ann = path / "owners" / "ann"
        (ann / "copies").mkdir(parents=True)
        (path / "suspects").mkdir()
        self.commitment = commit_scheme(self.own.key, self.own.plan)
        mark = ModelMark(self.own.plan, self.commitment, self.own.carrier.as_json(), 2)
        (ann / "mark.json").write_text(json.dumps(mark.as_json()))
        save(ann / "base.npz", self.own.base)
        shutil.copytree(world.log, ann / "log")
        for name, copy in world.copies.items():
            save(ann / "copies" / f"{name}.npz", copy)

    def add(self, name: str, weights: dict) -> None:
        save(self.path / "suspects" / f"{name}.npz", weights)
        text = f'kind = "network"\nfile = "{name}.npz"\n'
        (self.path / "suspects" / f"{name}.toml").write_text(text)

    @property
    def case(self) -> ModelCase:
        return ModelCase(self.path)

    def sealed(self) -> None:
        probe_models(self.case)
        declare_models(self.case, {"ann": VALUE})
        seal_models(self.case)

    def verdict(self, **options) -> dict:
        return judge_models(self.case, {"ann": self.own.key}, **options)


@pytest.fixture
def make(tmp_path):
    return functools.partial(made, tmp_path)


def made(path, *accepted: str, claim: str = "one model", **settings) -> Folder:
    """A case whose owner issued three copies, of which some have a receipt."""
    own = Owner(key=MarkKey.generate(), claim=claim, **settings)
    (path / "world").mkdir()
    world = World(path / "world", own)
    world.see()
    for name in ("ann", "bob", "cid"):
        number = world.issue(name).number
        if name in accepted:
            world.accept(name, number)
    return Folder(path / "case", world)


def test_those_who_leaked_are_named_and_all_stated_it_is_evidence(make):
    folder = make("ann", "bob", "cid")
    folder.add("found", leaked(folder.world, "bob", "cid"))
    (folder.path / "statements.toml").write_text(STATED.format(commitment=folder.commitment))
    folder.sealed()
    body = folder.verdict(blind=folder.case.digest("blind.json"))
    test = body["tests"]["ann"]["found"]
    assert [one["is_named"] for one in test["copies"]] == [False, True, True]
    customers = [folder.world.public(name) for name in ("ann", "bob", "cid")]
    assert [one["customer"] for one in test["copies"]] == customers
    assert test["standing"] == "evidence under the committed plan"
    lines = test["text"].splitlines()
    assert lines[0].startswith("It cannot be excluded that the owner himself, or a thief")
    assert lines[1].startswith("Shown at level 0.001: evidence")
    assert "derives from the copies" in test["text"]
    assert "made without any customer's copy or anything derived from it" in test["text"]
    # As many codes and disputes as were declared; the readings are in each already.
    best = min(one["log10_p"] for one in test["copies"])
    assert test["log10_p"] == pytest.approx(best + np.log10(20), abs=1e-4)


def test_an_innocent_network_names_nobody(make):
    folder = make("ann", "bob")
    folder.add("found", tiny_base(7))
    folder.sealed()
    body = folder.verdict()
    test = body["tests"]["ann"]["found"]
    assert body["corrected"]["outcome"] == "not shown"
    assert not any(one["is_named"] for one in test["copies"])
    assert test["text"].startswith("Not shown at level")
    assert "This does not show its innocence" in test["text"]


def test_a_copy_without_a_receipt_names_nobody(make):
    folder = make("ann")
    folder.add("found", leaked(folder.world, "bob"))
    folder.sealed()
    body = folder.verdict()
    (row,) = (one for one in body["tests"]["ann"]["found"]["copies"] if one["log10_p"] < -9)
    assert (row["is_accepted"], row["is_named"]) == (False, False)
    assert body["corrected"]["outcome"] == "not shown"


def test_several_suspects_share_the_level(make):
    folder = make("ann", "bob", claim="each model", num_disputes=2)
    folder.add("found", leaked(folder.world, "ann"))
    folder.add("other", tiny_base(3))
    folder.sealed()
    body = folder.verdict()
    assert body["corrected"]["named"] == [["ann", "found"]]
    assert body["corrected"]["level"] == pytest.approx(1e-3 / 2)
    test = body["tests"]["ann"]["found"]
    assert test["level_of_codes"] == pytest.approx(1e-3 / 2 / 2 / 2)


def test_a_control_names_no_customer(make):
    """It is not accused; its p are printed, but not that a customer was named."""
    folder = make("ann", "bob", claim="each model", num_disputes=2)
    folder.add("found", leaked(folder.world, "ann"))
    folder.add("known", leaked(folder.world, "bob"))
    stated = STATED.format(commitment=folder.commitment)
    stated += "[suspects.known]\ncontrol = true\nmodels_tried = 1\n"
    (folder.path / "statements.toml").write_text(stated)
    folder.sealed()
    body = folder.verdict()
    test = body["controls"]["ann"]["known"]
    assert test["copies"][1]["log10_p"] < -9
    assert "is_named" not in json.dumps(test)
    assert "derives from" not in json.dumps(test)
    assert body["tests"]["ann"]["found"]["copies"][0]["is_named"]


def test_the_clean_model_is_no_suspect(make):
    folder = make("ann")
    folder.add("found", folder.own.base)
    report = probe_models(folder.case)["suspects"]["found"]
    assert not report["is_fit"]
    assert "clean model from before the codes" in report["owners"]["ann"]["errors"][0]


def test_a_suspect_of_another_architecture_or_with_nan_fails_the_probe(make):
    folder = make("ann")
    other = tiny_base(1)
    other["params"]["first"]["kernel"] = other["params"]["first"]["kernel"][..., 1:]
    broken = tiny_base(2)
    broken["params"]["second"]["kernel"][0, 0, 0, 0] = np.nan
    for weights, text in ((other, "must have the architecture"), (broken, "must be finite")):
        folder.add("found", weights)
        report = probe_models(folder.case)["suspects"]["found"]["owners"]["ann"]
        assert text in report["errors"][0]


def test_a_swapped_or_missing_copy_or_another_key_is_refused(make):
    folder = make("ann", "bob")
    folder.add("found", leaked(folder.world, "ann"))
    folder.sealed()
    with pytest.raises(CommitmentError, match="does not open"):
        judge_models(folder.case, {"ann": MarkKey.generate()})
    (folder.path / "owners" / "ann" / "copies" / "bob.npz").unlink()
    with pytest.raises(CaseError, match="accepted copy with the weights"):
        folder.verdict()
    assert not folder.case.has("verdict.json")


def test_the_log_is_fixed_by_the_declaration(make):
    folder = make("ann", "bob")
    folder.add("found", leaked(folder.world, "ann"))
    folder.sealed()
    newest = max((folder.path / "owners" / "ann" / "log").iterdir())
    newest.unlink()
    with pytest.raises(ChangedFileError, match="owner 'ann' was changed"):
        folder.verdict()


def test_spent_codes_no_receipt_and_other_claims_are_refused(make, tmp_path):
    folder = make("ann", claim="any model")
    folder.add("found", leaked(folder.world, "ann"))
    with pytest.raises(CaseError, match="must claim 'one model' or 'each model'"):
        probe_models(folder.case)
    shutil.rmtree(tmp_path / "world")
    shutil.rmtree(tmp_path / "case")
    folder = make()
    folder.add("found", leaked(folder.world, "ann"))
    with pytest.raises(CaseError, match="holds no accepted copy"):
        probe_models(folder.case)


def test_codes_that_a_judge_has_opened_are_spent(make):
    folder = make("ann")
    suspect = leaked(folder.world, "ann")
    folder.add("found", suspect)
    folder.world.read(folder.world.dispute(suspect), suspect)
    log = folder.path / "owners" / "ann" / "log"
    shutil.rmtree(log)
    shutil.copytree(folder.world.log, log)
    with pytest.raises(RefusedDisputeError, match=r"^spent codes"):
        probe_models(folder.case)


def test_the_commands_judge_copies_too(make, tmp_path, capsys):
    folder = make("ann", "bob")
    folder.add("found", leaked(folder.world, "bob"))
    folder.own.key.save(tmp_path / "mark.key")
    path = str(folder.path)
    assert run(["probe", path]) == 0
    assert run(["declare", path, "--beacon", VALUE.hex()]) == 0
    assert run(["audit", path]) == 0
    assert run(["verdict", path, "--key", str(tmp_path / "mark.key")]) == 10
    assert "derives from copy" in capsys.readouterr().out


def test_all_setups_of_the_log_are_commitments_found(make):
    """The owner could dispute with the setup that fits a suspect best, as in the log itself."""
    folder = make("ann")
    other = dataclasses.replace(folder.own.plan, place="another product")
    commitment = commit_scheme(MarkKey.generate(), other)
    path = folder.world.path
    records.setup(
        folder.world.log, other, commitment, folder.world.public("judge"), path / "owner"
    )
    log = folder.path / "owners" / "ann" / "log"
    shutil.rmtree(log)
    shutil.copytree(folder.world.log, log)
    folder.add("found", leaked(folder.world, "ann"))
    stated = STATED.format(commitment=folder.commitment)
    (folder.path / "statements.toml").write_text(stated)
    folder.sealed()
    with pytest.raises(CaseError, match="found must be at least 2, the number of SETUPs"):
        folder.verdict()
    stated = stated.replace("found = 1", "found = 2")
    (folder.path / "statements.toml").write_text(stated)
    assert folder.verdict()["tests"]["ann"]["found"]["factor"] == 2.0


def test_nobody_is_named_beside_not_shown(monkeypatch, owner_class, tmp_path):
    """Ann is second in Holm's rule, at a level that the test of all copies does not reach."""
    own = owner_class(num_customers=2, readings=("non-blind",))
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, own.carrier.num_bits) * 2 - 1
    ann = np.where(np.arange(len(first)) < 82, first, -first)
    scores = np.zeros(own.carrier.num_rows)
    scores[: len(first)] = first
    drawn = [Bits(first), Bits(ann)]
    monkeypatch.setattr(copies, "open_codes", lambda *given: drawn)
    for receipts, outcome in (((None, 7), "not shown"), ((6, 7), "shown")):
        issues = tuple(
            Issue(number, "0f" * 32, "0f" * 32, "", receipt)
            for number, receipt in enumerate(receipts)
        )
        case = copies.Copies(None, None, issues, {}, "", 1, tmp_path)
        found = copies.trace_copies(own.carrier, case, own.plan, scores, own.key, VALUE, 1.0)
        assert fingerprint.trace(own.carrier, own.plan, {"non-blind": scores}, drawn).named == (
            0,
            1,
        )
        assert found.result.outcome == outcome
        named = [one["is_named"] for one in found.fields["copies"]]
        assert any(named) == (outcome == "shown")
        assert ("derives from" in found.sentence) == (outcome == "shown")


def test_the_log_has_the_plan_that_the_arbitrator_had(make):
    """Under another plan of the same key and carrier, codes could be chosen after the value."""
    folder = make("ann")
    folder.add("found", leaked(folder.world, "ann"))
    plan = dataclasses.replace(folder.own.plan, place="chosen after the value")
    mark = ModelMark(plan, commit_scheme(folder.own.key, plan), folder.own.carrier.as_json())
    (folder.path / "owners" / "ann" / "mark.json").write_text(json.dumps(mark.as_json()))
    with pytest.raises(CaseError, match="SETUP of this plan"):
        probe_models(folder.case)
