"""The settings of a network are fixed too: the same weights answer otherwise under others.

By the normalisation of the clean model alone, chosen after the bits, 300 tries took an innocent
network from p = 0.8 to 4e-3, with the committed weights.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest

from anw_jax import audit, models
from anw_jax.errors import CommitmentError
from anw_jax.keys import MarkKey, commit_scheme
from anw_jax.schemes import (
    multitask,
    plan_of,
    protocol,
    save_network,
    settings_digest,
    weights_digest,
)
from anw_jax.schemes.case import ModelCase, ModelMark
from anw_jax.schemes.claims import RefusedClaimError, judge_claim
from anw_jax.schemes.log import read_log

NET = models.create("testing", 10)
OTHER = dataclasses.replace(NET, mean=(0.1, 0.2, 0.3))
VALUE = bytes(range(32))
KEY = MarkKey.for_experiment(3, "settings")


@pytest.fixture(scope="module")
def weights() -> dict:
    return NET.init(jax.random.key(0), (16, 16, 3))


def decoder_of(weights: dict, **settings: str) -> multitask.Decoder:
    return multitask.make_decoder(
        KEY, weights_digest(weights), ("BasicBlock_0",), num_bits=32, num_probes=64, **settings
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"settings": settings_digest(NET)}, "names, [0-9a-f]{16}, got"),
        ({}, "names, none, got"),
    ],
)
def test_a_case_refuses_a_clean_model_of_other_settings(tmp_path, weights, settings, text):
    decoder = decoder_of(weights, **settings)
    plan = plan_of(decoder, alpha=1e-6, beacon="arbitrator:Jane")
    ann = tmp_path / "owners" / "ann"
    ann.mkdir(parents=True)
    mark = ModelMark(plan, commit_scheme(KEY, plan), decoder.as_json())
    (ann / "mark.json").write_text(json.dumps(mark.as_json()))
    save_network(ann / "base.npz", NET if not settings else OTHER, weights)
    with pytest.raises(CommitmentError, match=text):
        _ = ModelCase(tmp_path).owners
    if settings:
        (ann / "base.npz").unlink()
        save_network(ann / "base.npz", NET, weights)
        assert ModelCase(tmp_path).owners["ann"].decoder == decoder


def test_a_claim_names_the_settings_of_both_networks(tmp_path, weights):
    for name in ("ann", "node0", "node1", "node2"):
        audit.new_signing_key(tmp_path / name)
    nodes = [audit.signatures.public_key_of(tmp_path / f"node{number}") for number in range(3)]
    log = tmp_path / "log"
    protocol.open_log(log, nodes, tmp_path / "ann")
    decoder = decoder_of(weights, settings=settings_digest(NET))
    plan = plan_of(decoder, alpha=1e-6, beacon="arbitrator:Jane")
    publication = protocol.publish(log, plan, commit_scheme(KEY, plan), tmp_path / "ann")
    for number in range(3):
        protocol.see(log, tmp_path / f"node{number}")
    suspect = NET.init(jax.random.key(1), (16, 16, 3))
    claim = protocol.claim(
        log,
        publication.number,
        KEY,
        decoder,
        VALUE,
        weights_digest(suspect),
        tmp_path / "ann",
        settings_digest(NET),
    )
    records = read_log(log)
    for networks, text in (
        (((OTHER, weights), (NET, suspect)), "base must have the settings"),
        (((NET, weights), (OTHER, suspect)), "weights with other settings"),
    ):
        with pytest.raises(RefusedClaimError, match=f"wrong model: .*{text}"):
            judge_claim(records, claim.number, *networks, VALUE)
    verdict = judge_claim(records, claim.number, (NET, weights), (NET, suspect), VALUE)
    assert verdict.result.outcome != "shown"


def test_digests_of_settings_see_every_change():
    changed = [
        dataclasses.replace(NET, std=(0.5, 0.5, 0.25)),
        dataclasses.replace(NET, dtype="bfloat16"),
        OTHER,
    ]
    assert len({settings_digest(each) for each in [NET, *changed]}) == 4


def test_settings_are_left_out_of_a_decoder_that_fixes_none(weights):
    assert "settings" not in decoder_of(weights).as_json()
    whole = decoder_of(weights, settings="0f" * 32)
    assert multitask.Decoder.from_json(whole.as_json()) == whole
    assert whole.digest != decoder_of(weights).digest
    with pytest.raises(ValueError, match="settings must be 64 lower-case hex digits or empty"):
        decoder_of(weights, settings="x")
    assert np.array_equal(whole.inputs(), decoder_of(weights).inputs())
