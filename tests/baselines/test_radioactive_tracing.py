import re

import jax
import numpy as np
import pytest

from anw_jax import models
from anw_jax.baselines import radioactive_networks as tracing
from anw_jax.baselines.radioactive import draw_carriers


@pytest.fixture(scope="module")
def networks():
    """Two of one architecture, and one of another."""
    model = models.create("testing", 3)
    wider = models.create("testing", 3, widths=(8, 24))
    drawn = [
        (each, each.init(jax.random.key(seed), (8, 8, 3)))
        for seed, each in enumerate([model, model, wider])
    ]
    return drawn


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(5).integers(0, 256, (90, 8, 8, 3), dtype=np.uint8)


def _with_head(network, kernel):
    model, variables = network
    head = {**variables["params"][model.head], "kernel": kernel.astype(np.float32)}
    return model, {**variables, "params": {**variables["params"], model.head: head}}


def test_features_and_weights_give_the_logits(networks, photos):
    for model, variables in networks[1:]:
        fun = tracing.features_fn(model, variables)
        features = tracing.features_of(fun, photos, batch_size=40)
        assert features.shape == (90, tracing.class_weights(model, variables).shape[0])
        bias = np.asarray(variables["params"][model.head]["bias"])
        logits = features @ tracing.class_weights(model, variables) + bias
        expected = jax.jit(model)(variables, photos.astype(np.float32) / 255)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_equal_models_share_a_function(networks):
    (model, first), (_, second), (wider, third) = networks
    again = models.create("testing", 3)
    structures = [
        jax.tree.structure(tracing.features_fn(*network))
        for network in ((model, first), (again, second), (wider, third))
    ]
    assert structures[0] == structures[1] != structures[2]


def test_a_leaning_suspect_is_found_also_through_another_architecture(networks, photos):
    carriers = draw_carriers(1, 3, 16)
    marking, other, wider = networks
    found = tracing.trace(
        carriers,
        marking,
        {
            "before": other,
            "leaning": _with_head(marking, carriers.T),
            "opposite": _with_head(marking, -carriers.T),
            "wider": wider,
        },
        photos,
    )
    assert found["leaning"]["cosine_mean"] == pytest.approx(1.0, abs=1e-4)
    assert found["leaning"]["log10_p"] < -15
    assert found["opposite"]["cosine_mean"] == pytest.approx(-1.0, abs=1e-4)
    assert found["opposite"]["p_value"] == pytest.approx(1.0)
    for name in ("before", "wider"):
        assert found[name]["log10_p"] > -3
        assert 0 <= found[name]["residual"] <= 1
    assert found["before"]["num_features"] == 16
    for name, kind in (("cosine_mean", float), ("cosines", list), ("p_value", float)):
        assert type(found["before"][name]) is kind


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tracing.features_of(
                lambda images: images, np.zeros((0, 2, 2, 3), np.uint8)
            ),
            "num_images must be at least 1, got 0",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
