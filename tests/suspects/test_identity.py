"""Two models never share an identity: one's answers would pass for the other's."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from anw_jax import models
from anw_jax.errors import SuspectError
from anw_jax.suspects import CallableSuspect, Declaration, JaxSuspect, TorchSuspect
from anw_jax.suspects.adapters.jax import digest_of
from tests.suspects import twins

Partial = jax.tree_util.Partial
WEIGHTS = np.ones((3, 2), np.float32)


def mean_of(weights, batch, stride=1, train=False):
    assert not train
    return batch[:, ::stride].mean((1, 2)) @ weights


def identity_of(predict, **changes) -> str:
    return JaxSuspect(predict, Declaration(2, **changes)).declaration.identity


def test_what_is_bound_into_the_function_counts():
    one, two, again = (
        identity_of(Partial(functools.partial(mean_of, stride=stride), WEIGHTS))
        for stride in (1, 2, 1)
    )
    assert one == again
    assert one != two


def linear(weights, batch):
    return mean_of(weights[:3], batch)


def test_arrays_bound_into_the_function_count_to_the_last_value():
    """NumPy prints of a long array only its ends."""
    first = np.zeros((3000, 2), np.float32)
    second = first.copy()
    second[1500] = 1
    one, two, again = (
        identity_of(Partial(functools.partial(linear, array)))
        for array in (first, second, first.copy())
    )
    assert one == again
    assert one != two


def test_a_jitted_function_is_the_function_inside():
    assert identity_of(Partial(jax.jit(linear), WEIGHTS)) != identity_of(
        Partial(jax.jit(mean_of), WEIGHTS)
    )


def test_a_bound_model_is_told_apart_by_its_name_and_its_arrays():
    """A view or an attack wraps the model, whose function the tree prints with its address."""

    def wrapped(fun, weights):
        return digest_of(Partial(mean_of, Partial(fun, weights)))

    first = wrapped(linear, WEIGHTS)
    assert first == wrapped(linear, WEIGHTS.copy())
    assert first != wrapped(mean_of, WEIGHTS)
    assert first != wrapped(linear, 2 * WEIGHTS)
    with pytest.raises(ValueError, match="must have an identity"):
        wrapped(lambda weights, batch: batch, WEIGHTS)


def test_a_method_of_flax_is_told_apart_by_the_settings_of_its_module():
    import flax.linen as nn

    class Net(nn.Module):
        width: int

    one, two, again = (identity_of(Partial(Net(width).apply, WEIGHTS)) for width in (2, 3, 2))
    assert one == again
    assert one != two
    with pytest.raises(ValueError, match="must have an identity"):  # its initialiser: a closure
        identity_of(Partial(nn.Dense(2).apply, WEIGHTS))


def test_what_is_static_in_the_tree_counts():
    @functools.partial(
        jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["stride"]
    )
    @dataclasses.dataclass(frozen=True)
    class Net:
        weights: np.ndarray
        stride: int

    one, two = (identity_of(Partial(_apply, Net(WEIGHTS, stride))) for stride in (1, 2))
    assert one != two


def _apply(net, batch):
    return mean_of(net.weights, batch, net.stride)


def test_networks_of_this_project_are_told_apart_by_settings():
    variables = {"params": {"w": WEIGHTS}}
    one, two = (
        identity_of(models.create(name, 2).predict_fn(variables))
        for name in ("resnet18", "resnet34")
    )
    assert one != two


def test_a_function_that_caught_something_needs_a_name():
    def made(sign):
        return Partial(lambda weights, batch: sign * mean_of(weights, batch), WEIGHTS)

    def jitted(sign):
        return Partial(jax.jit(lambda batch: sign * mean_of(WEIGHTS, batch)))

    for make in (made, jitted, lambda _: Partial(lambda batch: batch[:, 0, 0, :2])):
        with pytest.raises(ValueError, match="declaration must have an identity that names"):
            identity_of(make(1))
        assert identity_of(make(1), identity="mine") == "mine"


def test_a_random_key_among_the_weights_counts():
    one, two = (identity_of(Partial(mean_of, jax.random.key(seed))) for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (Partial(mean_of, WEIGHTS, train=False), r"bool False at keywords\['train'\]: bind"),
        (Partial(mean_of, WEIGHTS, abs), r"builtin_function_or_method .* at args\[1\]: bind"),
    ],
)
def test_what_cannot_be_traced_is_named(predict, message):
    with pytest.raises(TypeError, match="predict must bind arrays only, .* " + message):
        identity_of(predict)


def broken(batch):
    raise AssertionError


def test_every_error_of_a_model_is_one_of_its_shape():
    suspect = CallableSuspect(broken, Declaration(2), identity="broken")
    message = r"^the suspect fails on a batch of shape \(2, 4, 4, 3\) \(AssertionError\)$"
    with pytest.raises(SuspectError, match=message):
        suspect.answers(np.zeros((2, 4, 4, 3), np.float32))
    flat = JaxSuspect(Partial(_total, WEIGHTS), Declaration(2))
    with pytest.raises(SuspectError, match="was given 4 pictures and must answer"):
        flat.answers(np.zeros((3, 4, 4, 3), np.float32))


def _total(weights, batch):
    return batch.sum() * weights.sum()


def torch_net(torch, stride=1):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3, stride), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )


def test_torch_layers_and_modes_count():
    torch = pytest.importorskip("torch")
    nets = [torch_net(torch), torch_net(torch, 2), torch_net(torch).eval(), torch_net(torch)]
    declaration = Declaration(2, layout="NCHW")
    one, two, in_eval, again = (
        TorchSuspect(net, declaration).declaration.identity for net in nets
    )
    assert one == again
    assert len({one, two, in_eval}) == 3


def test_weights_for_other_layers_are_another_model(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch_net(torch).state_dict(), tmp_path / "weights.pt")
    one, two = (
        TorchSuspect.from_weights(
            tmp_path / "weights.pt", torch_net(torch, stride), Declaration(2, layout="NCHW")
        ).declaration.identity
        for stride in (1, 2)
    )
    assert one != two


def test_a_torch_module_that_prints_an_address_needs_a_name():
    torch = pytest.importorskip("torch")

    class Odd(torch.nn.Module):
        def extra_repr(self):
            return repr(object())

    with pytest.raises(ValueError, match=r"nothing but an address .*<object object at 0x"):
        TorchSuspect(Odd(), Declaration(2))
    named = TorchSuspect(Odd(), Declaration(2, identity="odd"))
    assert named.declaration.identity == "odd"


def test_the_callers_choices_for_torch_are_left_alone():
    torch = pytest.importorskip("torch")
    seen = []

    class Looks(torch.nn.Module):
        def forward(self, batch):
            cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
            seen.append((cudnn.enabled, cudnn.allow_tf32, products.allow_tf32))
            return batch.mean((2, 3))

    before = torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32
    suspect = TorchSuspect(Looks(), Declaration(3, layout="NCHW"))
    suspect.answers(np.zeros((1, 4, 4, 3), np.float32))
    assert seen == [(before[0], False, False)]
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32) == before


def test_a_buffer_that_forward_replaces_comes_back():
    torch = pytest.importorskip("torch")

    class Moves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, batch):
            self.mean = 0.9 * self.mean + batch.mean()
            return batch.mean((2, 3))

    module = Moves().train()
    buffer = module.mean
    TorchSuspect(module, Declaration(3, layout="NCHW")).answers(np.ones((2, 4, 4, 3), "f4"))
    assert module.mean is buffer
    assert float(module.mean) == 0


def test_a_torch_module_in_train_mode_is_left_as_it_was():
    """A probe feeds other ranges and colours: running means would remember them."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3), twins.torch_module()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    TorchSuspect(module, twins.NCHW).answers(np.full((4, 8, 8, 3), 200, np.float32))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_torch_module_may_assert():
    torch = pytest.importorskip("torch")

    class Strict(torch.nn.Module):
        def forward(self, batch):
            torch._assert(batch.shape[2] == 224, "wrong height")

    suspect = TorchSuspect(Strict(), Declaration(2, layout="NCHW"))
    with pytest.raises(SuspectError, match=r"\(AssertionError: wrong height\)$"):
        suspect.answers(np.zeros((2, 4, 4, 3), np.float32))
