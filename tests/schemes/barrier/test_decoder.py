"""Filters and decoder: fixed by a digest, orthonormal, invariant as they say."""

import dataclasses

import numpy as np
import pytest

from anw_jax.errors import CommitmentError
from anw_jax.schemes import barrier, keygen
from anw_jax.schemes.barrier import filters
from anw_jax.schemes.barrier.filters import apply_filter, family, gram, patch_moments


@pytest.mark.parametrize("name", barrier.FAMILIES)
def test_filters_are_orthonormal_on_the_whitening_images(make, name):
    decoder = make.owner(bits={name: 24}).decoder
    whitening = make.sharpened(make.spoiled(make.pictures(2000, 60), 1))
    moments, _ = patch_moments(whitening, None, decoder.kernels.shape[1] // 2)
    np.testing.assert_allclose(gram(decoder.kernels, moments), np.eye(24), atol=1e-7)
    images = (whitening / 255.0).astype(np.float32)
    for kernel in decoder.kernels[:2]:
        made = np.asarray(apply_filter(kernel.astype(np.float32), images))
        assert (made**2).mean() == pytest.approx(1.0, rel=1e-3)


def test_mixing_is_invariant_under_flips_and_turns_and_exchanges_colours_with_a_sign():
    for kernel in family("mixing", 3):
        np.testing.assert_array_equal(kernel, kernel[::-1])
        np.testing.assert_array_equal(kernel, kernel[:, ::-1])
        np.testing.assert_array_equal(kernel, np.rot90(kernel))
        np.testing.assert_array_equal(kernel, -kernel.swapaxes(2, 3))


def test_cross_filters_change_sign_with_a_quarter_turn_and_not_with_a_flip():
    for kernel in family("cross", 3):
        np.testing.assert_array_equal(kernel, kernel[::-1])
        np.testing.assert_array_equal(kernel, kernel[:, ::-1])
        np.testing.assert_array_equal(kernel, -np.rot90(kernel))


def test_odd_filters_change_sign_when_turned_by_half():
    for kernel in family("odd", 2):
        np.testing.assert_array_equal(kernel, -kernel[::-1, ::-1])


def test_blur_and_sharpening_do_not_excite_either_family(make):
    """An even filter, alike in all colours, is orthogonal to all of them in expectation."""
    images = make.sharpened(make.pictures(5, 200))
    moments, _ = patch_moments(images, None, 2)
    blur = np.zeros((1, 5, 5, 3, 3))
    blur[0, 1:4, 1:4] = np.eye(3) / 9
    blur[0, 2, 2] -= np.eye(3)
    size = np.sqrt(gram(blur, moments)[0, 0])
    for name in barrier.FAMILIES:
        filters = family(name, 2)
        both = np.einsum(
            "kpc,pq,qc->k", filters.reshape(-1, 75, 3), moments, blur.reshape(75, 3)
        )
        scale = size * np.sqrt(np.diag(gram(filters, moments)))
        assert np.abs(both / 3 / scale).max() < 0.1


def test_a_file_is_read_back_as_written(owner, tmp_path):
    barrier.save_decoder(tmp_path / "decoder.npz", owner.decoder)
    again = barrier.load_decoder(tmp_path / "decoder.npz")
    assert again.digest == owner.decoder.digest
    assert again.mark == f"barrier:{again.digest}"
    with pytest.raises(FileExistsError):
        barrier.save_decoder(tmp_path / "decoder.npz", owner.decoder)
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is no barrier decoder"):
        barrier.load_decoder(tmp_path / "other.npz")


def test_every_field_is_committed_to(owner):
    decoder = owner.decoder
    changes = [
        {"base": "0e" * 32},
        {"whitening": "0e" * 32},
        {"kernels": decoder.kernels * (1 + 1e-15)},
        {"kernels": decoder.kernels[:-1]},
        {"queries": decoder.queries ^ np.uint8(1)},
        {"outputs": decoder.outputs ^ np.uint8(1)},
        {"queries": decoder.queries[:-1], "outputs": decoder.outputs[:-1]},
    ]
    digests = {decoder.digest}
    for change in changes:
        changed = dataclasses.replace(decoder, **change)
        digests.add(changed.digest)
        with pytest.raises(CommitmentError, match="a setting was changed after the commitment"):
            keygen(owner.key, changed, owner.plan, beacon=bytes(32))
    assert len(digests) == 1 + len(changes)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"base": "0F" * 32}, "base must be 64"),
        ({"whitening": ""}, "whitening must be 64"),
        ({"kernels": np.zeros((2, 4, 4, 3, 3))}, r"kernels must be \[num_bits, S, S, 3, 3\]"),
        ({"kernels": np.full((2, 3, 3, 3, 3), np.inf)}, "kernels must be finite"),
        ({"kernels": np.zeros((2, 33, 33, 3, 3))}, "more pixels along each side"),
        ({"queries": np.zeros((1, 16, 16, 3), np.uint8)}, "must have one shape"),
    ],
)
def test_bad_fields_are_one_clear_error(owner, change, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(owner.decoder, **change)


@pytest.mark.parametrize("most", [1, 4000, 20_000])
def test_large_images_are_measured_some_lines_at_a_time(make, monkeypatch, most):
    images = make.pictures(6, 3)
    targets = make.pictures(7, 3) / 255.0
    expected = patch_moments(images, targets, 2)
    monkeypatch.setattr(filters, "_MOST_ENTRIES", most)
    for found, wanted in zip(patch_moments(images, targets, 2), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_more_bits_than_features_are_refused(make):
    with pytest.raises(
        ValueError, match="bits of mixing must be at most 28, the number of its features"
    ):
        make.owner(bits={"mixing": 29})


def test_an_own_model_that_was_changed_is_refused(owner):
    decoder = owner.decoder
    decoder.check_own(owner.base, decoder.outputs)
    with pytest.raises(CommitmentError, match="was changed after the commitment"):
        decoder.check_own("0e" * 32, decoder.outputs)
    changed = decoder.outputs.copy()
    changed[3, 2, 1, 0] ^= 1
    with pytest.raises(CommitmentError, match="own outputs differ from the committed ones"):
        decoder.check_own(owner.base, changed)


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ({}, "bits must be at least 1 of mixing, cross, odd"),
        ({"odd": 0}, "bits must be at least 1 of mixing, cross, odd"),
        ({"even": 3}, "bits must be one of mixing, cross, odd"),
        ({"odd": -1}, "bits of odd must be at least 0"),
    ],
)
def test_bad_numbers_of_bits_are_one_clear_error(make, bits, text):
    with pytest.raises(ValueError, match=text):
        make.owner(bits=bits)


def test_bits_of_several_families_are_joined(make):
    owner = make.owner(bits=dict.fromkeys(barrier.FAMILIES, 8))
    assert owner.decoder.num_bits == 24
    served = owner.scores(owner.served)
    assert np.sign(served).tolist() == owner.bits().signs.tolist()
