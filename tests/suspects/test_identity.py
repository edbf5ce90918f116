"""Two models never share an identity: one's answers would pass for the other's."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from anw_jax import models
from anw_jax.errors import SuspectError
from anw_jax.suspects import CallableSuspect, Declaration, JaxSuspect, TorchSuspect
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

    with pytest.raises(ValueError, match="declaration must have an identity that names the"):
        identity_of(made(1))
    assert identity_of(made(1), identity="mine") == "mine"


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (Partial(mean_of, WEIGHTS, train=False), r"has bool at \[1\]\['train'\]: bind flags"),
        (Partial(mean_of, WEIGHTS, abs), r"has builtin_function_or_method at \[0\]\[1\]: bind"),
    ],
)
def test_what_cannot_be_traced_is_named(predict, message):
    with pytest.raises(TypeError, match="predict must hold arrays only, " + message):
        identity_of(predict)


def broken(batch):
    raise AssertionError


def test_every_error_of_a_model_is_one_of_its_shape():
    suspect = CallableSuspect(broken, Declaration(2), identity="broken")
    message = r"^the model cannot answer to shape \(2, 4, 4, 3\) \(AssertionError\)$"
    with pytest.raises(SuspectError, match=message):
        suspect.answers(np.zeros((2, 4, 4, 3), np.float32))
    flat = JaxSuspect(Partial(_total, WEIGHTS), Declaration(2))
    with pytest.raises(SuspectError, match=r"cannot answer to shape \(3, 4, 4, 3\)"):
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
