"""Tasks that are no classification of images: texts, and a network that removes noise.

The texts are made up here: walks of two Markov chains over 32 tokens. So are the pictures:
smooth colours with areas of light and shade.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import data, stats, train
from anw_jax.keys import MarkKey
from anw_jax.models import ImageToImage, TextClassifier
from anw_jax.schemes import keygen, multitask, plan_of, weights_digest
from anw_jax.schemes.multitask.grids import sequences

LENGTH, VOCABULARY, COUNT = 12, 32, 512
TEXT = TextClassifier(2, VOCABULARY, width=32)
TAPS = ("recurrent",)
EMBED = multitask.EmbedSettings(
    num_steps=250, learning_rate=3e-3, batch_size=32, drift=0.02, tuning=0.5, tuning_steps=1
)


def text_loss(params, model_state, batch, rng):
    logits = TEXT.apply({"params": params}, batch.images)
    loss = train.losses.cross_entropy(logits, batch.labels, 0.0).mean()
    return loss, (
        model_state,
        {"accuracy": (logits.argmax(-1) == batch.labels).mean(dtype=jnp.float32)},
    )


@functools.cache
def texts() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    chains = rng.dirichlet(np.full(VOCABULARY, 0.2), (2, VOCABULARY)).cumsum(axis=2)
    labels = np.arange(COUNT) % 2
    tokens = np.empty((COUNT, LENGTH), np.int32)
    tokens[:, 0] = rng.integers(0, VOCABULARY, COUNT)
    for place in range(1, LENGTH):
        rows = chains[labels, tokens[:, place - 1]]
        tokens[:, place] = (rng.random((COUNT, 1)) > rows).sum(axis=1).clip(0, VOCABULARY - 1)
    return tokens, labels.astype(np.int32)


def trained(loss_fn, examples, variables, num_steps: int, rate: float, seed: int, **options):
    """Train on a task: `examples` are inputs and what is wanted of them."""
    step = train.make_step(loss_fn, train.adam(rate), **options)
    rows = data.BatchPlan(len(examples[0]), 32, seed).rows
    result = train.fit(
        step,
        step.init(variables["params"], {}),
        train.Batches(train.Batch(*examples, None), rows, (32,)),
        num_steps=num_steps,
        key=jax.random.key(seed),
    )
    return jax.tree.map(jnp.asarray, jax.device_get(result.state.variables))


def fitted(variables, *how):
    return trained(text_loss, texts(), variables, *how)


@functools.cache
def clean(seed: int):
    return fitted(TEXT.init(jax.random.key(seed), LENGTH), 200, 3e-3, seed)


def error(variables) -> float:
    """Share of the texts that are classified wrongly."""
    tokens, labels = texts()
    answers = np.asarray(TEXT.apply(variables, jnp.asarray(tokens)))
    return float((answers.argmax(-1) != labels).mean())


@pytest.mark.slow
def test_bits_are_embedded_in_a_text_classifier_and_read():
    base, key = clean(0), MarkKey.for_experiment(0, "text")
    decoder = multitask.make_decoder(
        key,
        weights_digest(base),
        TAPS,
        num_bits=96,
        num_probes=128,
        tokens=(LENGTH, VOCABULARY),
    )
    bits = keygen(key, decoder, plan_of(decoder, alpha=1e-6), beacon=b"")
    (embedding,) = multitask.embed(
        TEXT, base, [(decoder, bits)], *texts(), EMBED, task_loss=text_loss
    )

    def log10_p(variables) -> float:
        fns = [multitask.tapped(TEXT, each, TAPS) for each in (base, variables)]
        return stats.bit_test(multitask.extract(decoder, *fns), bits).log10_p

    marked = embedding.variables
    assert log10_p(marked) < -12
    assert log10_p(fitted(marked, 50, 3e-4, 9)) < -6
    assert log10_p(base) > -3
    assert log10_p(clean(1)) > -3
    # The texts are those of the training: a mark costs some of what was memorised.
    assert error(marked) <= error(base) + 0.1


def test_keyed_texts_are_a_function_of_the_seed_and_fill_the_vocabulary():
    key = MarkKey.for_experiment(3)
    decoder = multitask.make_decoder(key, "0f" * 32, ("recurrent",), tokens=(20, 50))
    inputs = decoder.inputs()
    assert inputs.shape == (600, 20)
    assert inputs.dtype == np.int32
    assert set(np.unique(inputs)) == set(range(50))
    np.testing.assert_array_equal(
        inputs, multitask.Decoder.from_json(decoder.as_json()).inputs()
    )
    assert not np.array_equal(decoder.probes()[:9], inputs[:9])
    counts = np.bincount(inputs.ravel(), minlength=50)
    assert counts.max() < 1.5 * counts.mean()


def test_a_decoder_of_pictures_is_written_as_before():
    decoder = multitask.make_decoder(MarkKey.for_experiment(3), "0f" * 32, ("a",))
    assert "tokens" not in decoder.as_json()
    other = multitask.make_decoder(MarkKey.for_experiment(3), "0f" * 32, ("a",), tokens=(8, 9))
    assert other.digest != decoder.digest


@pytest.mark.parametrize("tokens", [(0, 5), (5, 1), (5,), (5, 2**21)])
def test_bad_tokens_are_one_clear_error(tokens):
    with pytest.raises(ValueError, match="tokens must be"):
        multitask.make_decoder(MarkKey.for_experiment(0), "0f" * 32, ("a",), tokens=tokens)


def test_sequences_are_those_of_the_definition():
    """Against the bits, four bytes for each token."""
    from anw_jax.schemes.multitask.grids import random_bits

    drawn = sequences("0f" * 32, "inputs", 2, 3, 10)
    bits = random_bits("0f" * 32, "inputs", 2 * 3 * 32).reshape(2, 3, 32)
    by_hand = [[int("".join(map(str, one)), 2) % 10 for one in row] for row in bits.tolist()]
    assert drawn.tolist() == by_hand


DENOISER = ImageToImage("unet", width=16, depth=2)
DENOISER_TAPS = ("Conv_2", "Conv_4")


@functools.cache
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Noisy and clean, uint8 `[256, 16, 16, 3]`."""
    rng = np.random.default_rng(5)

    def smooth(cells: int, channels: int) -> np.ndarray:
        values = jnp.asarray(rng.normal(size=(256, cells, cells, channels)))
        return np.asarray(jax.image.resize(values, (256, 16, 16, channels), "cubic"))

    clean_bhwc = 128 + 60 * smooth(4, 3) + 40 * np.sign(smooth(3, 1))
    noisy_bhwc = clean_bhwc + rng.normal(0, 25, clean_bhwc.shape)
    return tuple(np.clip(x, 0, 255).astype(np.uint8) for x in (noisy_bhwc, clean_bhwc))


def squared_error(params, model_state, batch, rng):
    restored = DENOISER.apply({"params": params}, batch.images)
    wanted = batch.labels.astype(jnp.float32) / 255.0
    return jnp.square(restored - wanted).mean(), (model_state, {})


def fitted_denoiser(variables, *how):
    def as_floats(params, state, batch, rng):
        return batch._replace(images=batch.images.astype(jnp.float32) / 255.0)

    return trained(squared_error, pictures(), variables, *how, prepare_fn=as_floats)


def psnr(variables) -> float:
    noisy, wanted = (x / np.float32(255) for x in pictures())
    restored = np.asarray(DENOISER.apply(variables, jnp.asarray(noisy))).clip(0, 1)
    return float(-10 * np.log10(np.square(restored - wanted).mean()))


@pytest.mark.slow
def test_bits_are_embedded_in_a_denoiser_and_read():
    first, other = (
        fitted_denoiser(DENOISER.init(jax.random.key(seed), (16, 16, 3)), 300, 3e-3, seed)
        for seed in (0, 1)
    )
    key = MarkKey.for_experiment(0, "dense")
    decoder = multitask.make_decoder(
        key,
        weights_digest(first),
        DENOISER_TAPS,
        num_bits=96,
        image_shape=(16, 16, 3),
        num_probes=256,
    )
    bits = keygen(key, decoder, plan_of(decoder, alpha=1e-6), beacon=b"")
    settings = multitask.EmbedSettings(
        num_steps=200, learning_rate=3e-3, batch_size=32, pairs=48, tuning=0.0, primary=30.0
    )
    (embedding,) = multitask.embed(
        DENOISER, first, [(decoder, bits)], *pictures(), settings, task_loss=squared_error
    )

    def log10_p(variables) -> float:
        fns = [multitask.tapped(DENOISER, each, DENOISER_TAPS) for each in (first, variables)]
        return stats.bit_test(multitask.extract(decoder, *fns), bits).log10_p

    marked = embedding.variables
    assert log10_p(marked) < -6
    assert log10_p(fitted_denoiser(marked, 60, 3e-4, 9)) < -6
    assert log10_p(first) > -3
    assert log10_p(other) > -3
    noise = -10 * np.log10(np.square(np.diff([x / 255 for x in pictures()], axis=0)).mean())
    assert psnr(first) > noise + 4
    assert psnr(marked) > psnr(first) - 1.5
