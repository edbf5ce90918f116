"""Diffusion models as suspects: the library's loss, whatever the framework."""

import dataclasses
import functools
import hashlib
import io
import json
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.suspects import (
    Declaration,
    DenoisingSuspect,
    LossSuspect,
    NoiseSchedule,
    TorchSuspect,
    ask,
)
from anw_jax.suspects.adapters.denoiser import open_diffusers
from anw_jax.verify import (
    denoising_error,
    loss_table,
    reconstruction_error,
    squared_error,
)
from tests.suspects import twins

SPACE, MARK = SignatureSpace(4), HueRotation()
PHOTOS = twins.photos(5)
FLOATS = PHOTOS.astype(np.float32) / np.float32(255)
SCHEDULE = NoiseSchedule(np.linspace(0.99, 0.1, 10))
ERRORS = Declaration(answer="error")
SIGNED = dataclasses.replace(ERRORS, value_range="signed")
STEPS = [2, 7, 2]


def guess(weight, noisy, steps):
    """Predicts a share of the noisy picture, which falls with the step."""
    return weight * noisy / (1 + steps.astype(np.float32))[:, None, None, None]


def denoiser(declaration=SIGNED, schedule=SCHEDULE, predict=None, **settings):
    predict = functools.partial(guess, 0.5) if predict is None else predict
    return DenoisingSuspect(
        predict, schedule, declaration, identity="guess", **{"steps": STEPS, **settings}
    )


def library_loss(prediction="epsilon", **settings):
    given = {"steps": STEPS, "seed": 0, **settings}
    steps = np.array(given.pop("steps"))
    shares = SCHEDULE.signal_shares
    return denoising_error(shares, steps, (8, 8, 3), prediction=prediction, **given)


@pytest.mark.parametrize("settings", [{}, {"mirror": False}, {"seed": 3}, {"steps": [9]}])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_it_is_the_library_s_loss(prediction, settings):
    schedule = NoiseSchedule(SCHEDULE.signal_shares, prediction)
    given = denoiser(schedule=schedule, **settings).answers(FLOATS).scores
    expected = library_loss(prediction, **settings)(Partial(guess, 0.5), FLOATS, None)
    np.testing.assert_allclose(given[:, 0], expected, rtol=2e-5)


def test_the_layout_changes_nothing():
    def channels_first(noisy, steps):
        assert noisy.shape[1] == 3
        return guess(0.5, noisy, steps)

    first = dataclasses.replace(SIGNED, layout="NCHW")
    given = denoiser(first, predict=channels_first).answers(FLOATS).scores
    np.testing.assert_allclose(given, denoiser().answers(FLOATS).scores, rtol=1e-6)


def test_a_table_of_jax_is_that_of_the_library():
    loss, predict = library_loss(), Partial(guess, jnp.float32(0.5))
    suspect = LossSuspect(loss, predict, ERRORS)
    table = ask(suspect, PHOTOS, None, MARK, SPACE, batch_size=6)
    expected = loss_table(predict, PHOTOS, (), MARK, SPACE, loss=loss)
    np.testing.assert_allclose(table, expected, rtol=1e-5)
    np.testing.assert_allclose(ask(denoiser(), PHOTOS, None, MARK, SPACE), expected, rtol=1e-4)


def test_pictures_of_each_size_share_their_noise():
    seen = {}

    def noted(noisy, steps):
        seen.setdefault((noisy.shape[1:], int(steps[0])), []).append(noisy)
        return 0 * noisy

    suspect = denoiser(predict=noted, steps=[4], mirror=False)
    for side in (4, 6):
        for _ in range(2):
            suspect.answers(np.full((2, side, side, 3), 0.5, np.float32))
    for noises in seen.values():
        assert all(np.array_equal(part, noises[0][:1].repeat(2, 0)) for part in noises)
    assert len(seen) == 2


def test_photos_are_fitted_to_the_input_size():
    suspect = denoiser(dataclasses.replace(SIGNED, input_size=(8, 8)))
    large = PHOTOS.repeat(3, axis=1).repeat(3, axis=2)
    table = ask(suspect, large, None, MARK, SPACE)
    assert np.isfinite(table).all()
    assert table.std() > 0


def test_settings_and_parts_are_in_the_identity():
    base = denoiser().declaration
    assert "steps 2, 7, 2, seed 0, with mirror images" in base.identity
    others = [
        denoiser(seed=1),
        denoiser(steps=[2, 7]),
        denoiser(mirror=False),
        denoiser(together=2),
        denoiser(schedule=NoiseSchedule(SCHEDULE.signal_shares, "sample")),
        DenoisingSuspect(guess, SCHEDULE, SIGNED, identity="other", steps=STEPS),
    ]
    digests = {base.digest, *(other.declaration.digest for other in others)}
    assert len(digests) == len(others) + 1
    assert denoiser().declaration.digest == base.digest


def test_a_loss_is_identified_with_its_model():
    made = [
        LossSuspect(library_loss(), Partial(guess, jnp.float32(0.5)), ERRORS),
        LossSuspect(library_loss(), Partial(guess, jnp.float32(0.4)), ERRORS),
        LossSuspect(library_loss(seed=1), Partial(guess, jnp.float32(0.5)), ERRORS),
        LossSuspect(reconstruction_error, Partial(guess, jnp.float32(0.5)), ERRORS),
    ]
    assert len({suspect.declaration.digest for suspect in made}) == len(made)
    again = LossSuspect(library_loss(), Partial(guess, jnp.float32(0.5)), ERRORS)
    assert again.declaration == made[0].declaration


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"steps": [0, 10]}, ValueError, r"steps must be in \[0, 10\)"),
        ({"steps": [-1]}, ValueError, r"steps must be in \[0, 10\)"),
        ({"steps": []}, ValueError, "steps must be integers"),
        ({"steps": [0.5]}, ValueError, "steps must be integers"),
        ({"steps": 5}, ValueError, "steps must be integers"),
        ({"steps": ["a"]}, ValueError, "steps must be integers"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": "a"}, TypeError, "seed must be an integer"),
        ({"mirror": 1}, TypeError, "mirror must be"),
        ({"predict": "net"}, TypeError, "predict must be callable"),
        ({"schedule": SCHEDULE.signal_shares}, TypeError, "schedule must be"),
        ({"declaration": Declaration(3)}, ValueError, "answer must be 'error'.*got 'logits'"),
    ],
)
def test_settings_that_are_refused(settings, error, words):
    with pytest.raises(error, match=words):
        denoiser(**settings)


def test_it_needs_a_name():
    with pytest.raises(ValueError, match="identity must name the model"):
        DenoisingSuspect(guess, SCHEDULE, SIGNED)


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (
            lambda noisy, steps: noisy[:, :4],
            r"numbers of that shape; got float32 of shape \(5, 4",
        ),
        (lambda noisy, steps: np.concatenate([noisy, noisy], -1), r"of shape \(5, 8, 8, 6\)"),
        (lambda noisy, steps: noisy.astype(complex), "got complex128"),
        (lambda noisy, steps: None, "got object"),
        (lambda noisy: noisy, "TypeError"),
    ],
)
def test_networks_that_predict_something_else(predict, words):
    with pytest.raises(SuspectError, match=words):
        denoiser(predict=predict).answers(FLOATS)


def test_a_network_that_overflows_answers_no_number():
    suspect = denoiser(predict=lambda noisy, steps: noisy * np.float32(np.inf))
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(suspect.answers(FLOATS).scores).any()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((squared_error, Partial(guess), Declaration(2)), ValueError, "answer must be 'error'"),
        (("mean", Partial(guess), ERRORS), TypeError, "loss must be callable"),
        ((squared_error, guess, ERRORS), TypeError, "predict must be"),
        ((squared_error, Partial(guess, "a"), ERRORS), TypeError, "must bind arrays only"),
        ((Partial(squared_error, "a"), Partial(guess), ERRORS), TypeError, "arrays only"),
        ((lambda *given: given, Partial(guess), ERRORS), ValueError, "must have an identity"),
    ],
)
def test_losses_that_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        LossSuspect(*arguments).answers(FLOATS)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda predict, images, targets: predict(images), "declares 1 error for each picture"),
        (
            lambda predict, images, targets: images.mean() + 0,
            r"must answer with error \[b, 1\]",
        ),
        (lambda predict, images, targets: -images.mean((1, 2, 3)), "which are at least 0"),
        (squared_error, "fails on a batch of shape"),
    ],
)
def test_losses_of_another_shape(loss, words):
    named = dataclasses.replace(ERRORS, identity="named")
    suspect = LossSuspect(loss, Partial(lambda images: images[:, 0, 0]), named)
    with pytest.raises(SuspectError, match=words):
        suspect.answers(FLOATS)


def torch_net():
    """A network of PyTorch with the call of a U-Net of diffusers: (sample, timestep)."""
    torch = pytest.importorskip("torch", reason="torch is an optional library")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, sample, timestep):
            time = (timestep.to(sample.dtype) / 10)[:, None, None, None]
            return self.conv(sample) * time

    torch.manual_seed(0)
    return torch, Net()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_network(tmp_path):
    torch, net = torch_net()
    torch.jit.script(net).save(tmp_path / "unet.pt")
    first = dataclasses.replace(SIGNED, layout="NCHW")
    network = TorchSuspect.from_script(tmp_path / "unet.pt", first)
    suspect = denoiser(network.declaration, predict=network.outputs)
    given = suspect.answers(FLOATS).scores[:, 0]
    total = np.zeros(5)
    noises = np.random.default_rng(0).standard_normal((3, 8, 8, 3), np.float32)
    for step, noise in zip(STEPS, noises, strict=True):
        share = float(SCHEDULE.signal_shares[step])
        for side in (FLOATS, FLOATS[:, :, ::-1]):
            noisy = share**0.5 * (2 * side - 1) + (1 - share) ** 0.5 * noise
            with torch.no_grad():
                batch = torch.tensor(noisy.transpose(0, 3, 1, 2).copy(), dtype=torch.float32)
                seen = net(batch, torch.full((5,), step)).numpy().transpose(0, 2, 3, 1)
            total += ((seen - noise) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(given, total / 6, rtol=1e-4)


WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_a_folder_of_diffusers_needs_diffusers(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(SuspectError, match=r"safetensors cannot be read"):
        open_diffusers(tmp_path, SIGNED)
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    with pytest.raises(MissingLibraryError, match="pip install diffusers"):
        open_diffusers(tmp_path, SIGNED)
    for body, words in (
        ('{"_class_name": "UNet2DConditionModel"}', "must be of class UNet2DModel"),
        ("[]", "is not a network's configuration"),
        ("{}", "is not a network's configuration"),
    ):
        (tmp_path / "config.json").write_text(body)
        with pytest.raises(SuspectError, match=words):
            open_diffusers(tmp_path, SIGNED)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder, and modules in place of diffusers and safetensors that record what they get."""
    torch, net = torch_net()
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", "a": 1}))
    (tmp_path / WEIGHTS).write_bytes(buffer.getvalue())
    seen = {}

    class UNet2DModel:
        @staticmethod
        def from_config(config):
            seen["config"] = config
            _, module = torch_net()
            torch.nn.init.zeros_(module.conv.weight)
            plain = type(module).forward
            module.forward = lambda sample, step, return_dict=True: (
                plain(module, sample, step),
            )
            return module

        @staticmethod
        def from_pretrained(*args, **options):
            raise AssertionError("reads files that the identity does not cover")

    def load(body):
        seen["body"] = body
        return torch.load(io.BytesIO(body), weights_only=True)

    reader = types.ModuleType("safetensors.torch")
    reader.load = load
    package = types.ModuleType("safetensors")
    package.torch = reader
    library = types.ModuleType("diffusers")
    library.UNet2DModel = UNet2DModel
    for module in (package, reader, library):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return tmp_path, seen, net


def test_a_folder_of_diffusers_is_built_from_the_hashed_bytes(stand_in):
    folder, seen, net = stand_in
    declaration = dataclasses.replace(SIGNED, layout="NCHW")
    network = open_diffusers(folder, declaration)
    config, weights = ((folder / name).read_bytes() for name in ("config.json", WEIGHTS))
    digests = [hashlib.sha256(body).hexdigest() for body in (config, weights)]
    assert network.declaration.identity == " ".join(["UNet2DModel", *digests])
    assert seen == {"config": json.loads(config), "body": weights}
    noisy = np.ones((2, 3, 8, 8), np.float32)
    (given,) = network.outputs(noisy, np.array([4, 4]))
    torch = pytest.importorskip("torch", reason="torch is an optional library")
    with torch.no_grad():
        expected = net(torch.tensor(noisy), torch.tensor([4, 4])).numpy()
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_weights_in_several_files_are_refused(stand_in):
    """They would be preferred to the file in the identity: one digest, another network."""
    folder, _, _ = stand_in
    (folder / f"{WEIGHTS}.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(SuspectError, match="divides the weights among several files"):
        open_diffusers(folder, dataclasses.replace(SIGNED, layout="NCHW"))


def test_weights_that_do_not_fit_a_folder_are_refused(stand_in):
    folder, _, _ = stand_in
    torch = pytest.importorskip("torch", reason="torch is an optional library")
    torch.save({"conv.weight": torch.zeros(3, 3, 3, 3)}, folder / WEIGHTS)
    with pytest.raises(SuspectError, match=r"cannot be opened .*state_dict"):
        open_diffusers(folder, dataclasses.replace(SIGNED, layout="NCHW"))


@pytest.mark.slow
def test_a_folder_of_diffusers(tmp_path):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is an optional library")
    torch = pytest.importorskip("torch", reason="torch is an optional library")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    unet.save_pretrained(tmp_path)
    diffusers.DDPMScheduler(num_train_timesteps=10).save_pretrained(tmp_path)
    schedule = NoiseSchedule.load(tmp_path / "scheduler_config.json")
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=10)
    np.testing.assert_allclose(
        schedule.signal_shares, scheduler.alphas_cumprod.numpy(), rtol=1e-5
    )
    network = open_diffusers(tmp_path, dataclasses.replace(SIGNED, layout="NCHW"))
    suspect = denoiser(network.declaration, schedule, network.outputs, steps=[4], mirror=False)
    given = suspect.answers(FLOATS).scores[:, 0]
    noise = np.random.default_rng(0).standard_normal((1, 8, 8, 3), np.float32)
    clean = torch.tensor((2 * FLOATS - 1).transpose(0, 3, 1, 2).copy())
    added = torch.tensor(noise.transpose(0, 3, 1, 2).copy()).repeat(5, 1, 1, 1)
    with torch.no_grad():
        noisy = scheduler.add_noise(clean, added, torch.full((5,), 4))
        errors = (unet.eval()(noisy, torch.full((5,), 4)).sample - added) ** 2
    np.testing.assert_allclose(given, errors.mean((1, 2, 3)), rtol=1e-4)
