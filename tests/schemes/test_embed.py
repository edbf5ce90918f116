"""Real networks in JAX: embedding, attacks, both variants."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import attacks, data, models, stats, train
from anw_jax.errors import CheckpointError, CommitmentError
from anw_jax.keys import Bits, MarkKey, one_time_key
from anw_jax.schemes import check_released, keygen, multitask, plan_of, weights_digest

MODEL = models.create("testing", 10)
TAPS = ("BasicBlock_0", "BasicBlock_1")
SETTINGS = train.TrainSettings(num_epochs=4, batch_size=64, learning_rate=0.05)
EMBED = multitask.EmbedSettings(num_steps=200, learning_rate=3e-3, drift=0.02, tuning=0.5)
VALUE = bytes(32)


@functools.cache
def splits():
    return data.load("mock:256", image_size=16)


@functools.cache
def clean(seed: int = 0):
    images, labels = splits().train.images, splits().train.labels
    settings = dataclasses.replace(SETTINGS, seed=seed)
    rows = data.BatchPlan(len(images), 64, seed).rows
    state = train.train(MODEL, settings, images, labels, rows).state
    return jax.tree.map(jnp.asarray, jax.device_get(state.variables))


@functools.cache
def keyed(number: int = 1):
    """Key, decoder and bits of one of the owner's keys."""
    key = one_time_key(MarkKey.for_experiment(5), number)
    decoder = multitask.make_decoder(
        key,
        weights_digest(clean()),
        TAPS,
        num_bits=128,
        image_shape=(16, 16, 3),
        num_probes=256,
    )
    plan = plan_of(decoder, alpha=1e-6, beacon="arbitrator:A", number=number)
    return decoder, keygen(key, decoder, plan, beacon=VALUE)


@functools.cache
def embedded():
    """Two keys at once, with both regularisers."""
    images, labels = splits().train.images, splits().train.labels
    return multitask.embed(MODEL, clean(), [keyed(1), keyed(2)], images, labels, EMBED)


def log10_p(taps_fn, number: int = 1) -> float:
    decoder, bits = keyed(number)
    base = multitask.tapped(MODEL, clean(), TAPS)
    return stats.bit_test(multitask.extract(decoder, base, taps_fn), bits).log10_p


def material() -> attacks.Material:
    train_set, test_set = splits().train, splits().test
    return attacks.Material(
        dataclasses.replace(SETTINGS, batch_size=32),
        train_set.images,
        train_set.labels,
        test_set.images,
        test_set.labels,
        seed=0,
    )


@pytest.mark.slow
def test_two_keys_are_embedded_and_batch_statistics_stay():
    first, second = embedded()
    assert (first.share_right, second.share_right) == (1.0, 1.0)
    chex_equal(first.variables["batch_stats"], clean()["batch_stats"])
    chex_equal(first.variables["params"]["Dense_0"], clean()["params"]["Dense_0"])
    for number in (1, 2):
        taps_fn = multitask.tapped(MODEL, first.variables, TAPS)
        assert log10_p(taps_fn, number) < -12
        assert log10_p(multitask.tapped(MODEL, clean(1), TAPS), number) > -3


def chex_equal(first, second) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [
        attacks.create("fine_tune", num_epochs=4, batch_size=32, learning_rate=0.005),
        attacks.create("prune", fraction=0.3),
        attacks.create(
            "fine_prune", fraction=0.2, num_epochs=2, batch_size=32, learning_rate=0.005
        ),
        attacks.Rebase("permute", TAPS),
        attacks.Rebase("scale", TAPS),
        attacks.Rebase("mix", TAPS),
        attacks.Rebase("dummy", TAPS),
        attacks.Overwrite(TAPS, num_bits=64, num_steps=60, learning_rate=3e-3),
    ],
    ids=lambda attack: type(attack).__name__ + getattr(attack, "kind", ""),
)
def test_the_mark_is_read_after(attack):
    trained = attacks.TrainedModel.of(MODEL, embedded()[0].variables)
    changed = attack.change(trained, material())
    assert log10_p(attacks.taps_of(changed, TAPS)) < -6


@pytest.mark.slow
def test_an_attacker_who_overwrites_keeps_the_stolen_model_useful():
    """He embeds as an owner would, with the task's loss; without it the task suffers."""
    trained = attacks.TrainedModel.of(MODEL, embedded()[0].variables)
    overwrite = attacks.Overwrite(TAPS, num_bits=128, num_steps=60, learning_rate=3e-3)
    kept, lost = (
        train.evaluate(
            attack.change(trained, material()).predict,
            material().clean_images,
            material().clean_labels,
        )[0]
        for attack in (overwrite, dataclasses.replace(overwrite, primary=0.0))
    )
    assert kept < lost / 2


@pytest.mark.slow
def test_an_opened_key_can_be_erased():
    trained = attacks.TrainedModel.of(MODEL, embedded()[0].variables)
    settings = dataclasses.replace(EMBED, num_steps=150, tuning=0.0, margin=4.0)
    erased = attacks.erase(trained, *keyed(1), material(), settings)
    assert log10_p(multitask.tapped(MODEL, embedded()[0].variables, TAPS)) < -12
    assert log10_p(attacks.taps_of(erased, TAPS), 1) > -2


@functools.cache
def branched():
    """The paper's variant: a network and its secret branch."""
    images, labels = splits().train.images, splits().train.labels
    return multitask.embed_branch(
        MODEL, clean(), *keyed(1), images, labels, EMBED, widths=(32,)
    )


@pytest.mark.slow
def test_a_revealed_branch_can_be_spoilt():
    """Why a claim spends the key: the branch stays, and reads the opposite."""
    decoder, bits = keyed(1)
    variables, branch = branched()
    settings = dataclasses.replace(EMBED, tuning=0.0, num_steps=150)
    trained = attacks.TrainedModel.of(MODEL, variables)
    spoilt = attacks.spoil(trained, decoder, bits, branch, material(), settings)
    assert set(spoilt.variables["params"]) == set(variables["params"])
    chex_equal(spoilt.variables["batch_stats"], variables["batch_stats"])
    taps_fn = attacks.taps_of(spoilt, TAPS)
    committed = multitask.branch_digest(branch)
    result = multitask.apply_rule(decoder, branch, bits, taps_fn, committed=committed)
    assert result.accuracy < 0.5


@pytest.mark.slow
def test_the_trained_branch_passes_the_papers_rule_and_leaves_with_the_network():
    decoder, bits = keyed(1)
    variables, branch = branched()
    check_released(variables)
    assert set(variables["params"]) == set(clean()["params"])
    committed = multitask.branch_digest(branch)
    result = multitask.apply_rule(
        decoder, branch, bits, multitask.tapped(MODEL, variables, TAPS), committed=committed
    )
    assert result.accuracy >= 0.95
    wrong = Bits(np.random.default_rng(0).choice([-1, 1], len(bits)))
    other = multitask.apply_rule(
        decoder, branch, wrong, multitask.tapped(MODEL, variables, TAPS), committed=committed
    )
    assert 0.3 < other.accuracy < 0.7


@pytest.mark.slow
def test_only_an_embedding_of_the_same_bits_is_resumed(tmp_path):
    """A kill leaves checkpoints; they must not serve another value of the beacon."""
    (decoder, bits), images = keyed(1), splits().train.images
    settings = multitask.EmbedSettings(num_steps=2, pairs=8, probes=32, tuning=0.0)

    def embedded_bits(bits, settings=settings):
        return multitask.embed(
            MODEL,
            clean(),
            [(decoder, bits)],
            images,
            splits().train.labels,
            settings,
            checkpoint_dir=tmp_path,
        )[0].variables

    first = embedded_bits(bits)
    chex_equal(embedded_bits(bits), first)
    other = np.array(bits.signs)
    other[0] = -other[0]
    with pytest.raises(CheckpointError, match=r"another run: embedding\.bits is"):
        embedded_bits(Bits(other))
    with pytest.raises(CheckpointError, match=r"embedding\.margin is 1\.0 there and 2\.0 here"):
        embedded_bits(bits, dataclasses.replace(settings, margin=2.0))


def test_bad_input_is_one_clear_error():
    decoder = multitask.make_decoder(MarkKey.for_experiment(0), "0f" * 32, TAPS, num_bits=4)
    bits = Bits(np.ones(4, int))
    images = np.zeros((4, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="decoders must hold at least one"):
        multitask.embed(MODEL, {"params": {}}, [], images, np.zeros(4, int))
    with pytest.raises(CommitmentError, match="base must be the clean model"):
        multitask.embed(MODEL, {"params": {}}, [(decoder, bits)], images, np.zeros(4, np.int32))
    for wrong in ({"num_steps": 0}, {"margin": 0.0}, {"drift": -1.0}, {"tuning": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            multitask.EmbedSettings(**wrong)
