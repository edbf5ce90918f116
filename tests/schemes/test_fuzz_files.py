"""Mutants of files about models: marks, carriers, decoders, networks: one line, or what they
say; and files of owners who chose absurd sizes."""

import io
import json
import warnings
import zipfile

import jax
import numpy as np
import pytest

from anw_jax import models
from anw_jax.cli.model_copies import _opened
from anw_jax.errors import AnwError, CheckpointError
from anw_jax.keys import Plan
from anw_jax.schemes import barrier, load_network, plan_of, save_network
from anw_jax.schemes.bundles import BundledModels
from anw_jax.schemes.multitask import tapped
from anw_jax.schemes.systems import SYSTEMS
from tests.cli.test_outputs import smooth
from tests.mutants import COUNTED, different, fuzz, of_json, other_value, structured, survives
from tests.schemes import bundling
from tests.schemes.fingerprint.conftest import Owner
from tests.suspects.fuzz_child import mutant

FORMAT = "anw_jax fingerprint setup, version 1"


@pytest.fixture(scope="module", params=bundling.MAKERS)
def case(request, tmp_path_factory):
    """A case of each system, before its probe."""
    root = tmp_path_factory.mktemp(request.param)
    with bundling.small_networks():
        bundling.MAKERS[request.param](root)
        yield root / "case"


def with_another_decoder(before, rng):
    """A mark whose owner chose something else, and had it in the plan."""
    body = json.loads(before)
    try:
        body["decoder"] = other_value(body["decoder"], rng)
        system = body["plan"]["mark"].partition(":")[0]
        body["plan"]["mark"] = SYSTEMS[system].decoder_from_json(body["decoder"]).mark
    except (ValueError, TypeError):
        return structured(before, rng)
    return json.dumps(body).encode()


@COUNTED
def test_fuzz_marks(case, count):
    path = case / "owners" / "ann" / "mark.json"
    before = path.read_bytes()

    def read(body):
        path.write_bytes(body)
        owner = BundledModels(case).owners["ann"]
        assert owner.published.plan.mark == owner.decoder.mark
        assert owner.decoder.num_bits <= 2**20

    def make(body, rng):
        return (with_another_decoder if rng.random() < 0.4 else of_json)(body, rng)

    read(before)
    kind = f"mark.json of {json.loads(before)['plan']['mark'].partition(':')[0]}, read"
    num_read, num_refused = survives(kind, different(before, make, kind, count), read, AnwError)
    assert num_refused > num_read


@COUNTED
def test_fuzz_carriers(tmp_path, count):
    path, own = tmp_path / "carrier.json", Owner()
    body = {"format": FORMAT, "carrier": own.carrier.as_json(), "plan": own.plan.as_json()}
    before = json.dumps({**body, "setup": 2}).encode()

    def read(body):
        path.write_bytes(body)
        carrier, plan, _ = _opened(path)
        assert isinstance(plan, Plan)
        assert carrier.num_rows <= carrier.num_weights

    read(before)
    kind = "carrier.json, read"
    survives(kind, different(before, of_json, kind, count), read, AnwError)


@COUNTED
def test_fuzz_decoders_of_a_barrier(tmp_path, count):
    path, system = tmp_path / "decoder.npz", SYSTEMS["barrier"]
    images = [smooth(seed, 12) for seed in (1, 2, 3)]
    decoder = barrier.make_decoder("0f" * 32, *images, bits={"odd": 4})
    barrier.save_decoder(path, decoder)
    plan = plan_of(decoder, alpha=1e-4, beacon="arbitrator:Jane")

    def read(body):
        path.write_bytes(body)
        return system.open_own(decoder.head, plan, tmp_path).digest

    def make(before, rng):
        return mutant(before, np.random.default_rng(rng.getrandbits(32)))

    fuzz("decoder.npz of a barrier, read", path.read_bytes(), read, count, make, AnwError)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The file of a small network."""
    path, net = tmp_path_factory.mktemp("net") / "net.npz", models.create("testing", 10)
    save_network(path, net, net.init(jax.random.key(0), (16, 16, 3)))
    return path


def with_settings(body: bytes, change) -> bytes:
    """The archive with other settings, its checksums right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.startswith("settings"):
                array = np.load(io.BytesIO(content)).tobytes()
                changed = io.BytesIO()
                np.save(changed, np.frombuffer(change(array), np.uint8))
                content = changed.getvalue()
            new.writestr(name, content)
    return out.getvalue()


@COUNTED
def test_fuzz_networks(network, tmp_path, count):
    path, before = tmp_path / "net.npz", network.read_bytes()

    def read(body):
        path.write_bytes(body)
        model, variables = load_network(path)
        logits = jax.eval_shape(lambda: model(variables, np.zeros((1, 16, 16, 3), np.float32)))
        assert logits.shape == (1, model.num_classes)

    def make(body, rng):
        if rng.random() < 0.4:
            return with_settings(body, lambda text: of_json(text, rng))
        return mutant(body, np.random.default_rng(rng.getrandbits(32)))

    read(before)
    kind = "network, read"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's own, on odd headers
        survives(kind, different(before, make, kind, count), read, CheckpointError)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ["testing"]},
        {"num_classes": 2**70},
        {"widths": [1] * 100_000},
        {"mean": [10**400, 0, 0]},
        {"norm": "none"},
        {"dtype": "float64"},
        {"more": 1},
    ],
)
def test_settings_that_no_network_has_are_one_line(network, tmp_path, change):
    def other(text):
        body = json.loads(text)
        return json.dumps({**body, "model": body["model"] | change}).encode()

    (tmp_path / "net.npz").write_bytes(with_settings(network.read_bytes(), other))
    with pytest.raises(CheckpointError, match=r"is no network|holds other weights"):
        load_network(tmp_path / "net.npz")


def test_inputs_that_a_network_does_not_take_are_one_line(network):
    """A decoder of an owner who says that it is for texts."""
    read = tapped(*load_network(network), ("BasicBlock_0",))
    with pytest.raises(ValueError, match=r"must take the decoder's inputs, int32 \[64, 5\]"):
        read(np.zeros((64, 5), np.int32))


def encrypted(path) -> bytes:
    body = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        head = archive.infolist()[0].header_offset
    body[head + 6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


def compressed(path) -> bytes:
    """Few bytes that expand to many."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("zeros.npy", bytes(2**20))
    return out.getvalue()


@pytest.mark.parametrize("make", [encrypted, compressed])
def test_archives_that_are_not_ours_are_one_line(network, tmp_path, make):
    (tmp_path / "net.npz").write_bytes(make(network))
    with pytest.raises(CheckpointError, match="is no network"):
        load_network(tmp_path / "net.npz")
    (tmp_path / "decoder.npz").write_bytes(make(network))
    with pytest.raises(AnwError, match="is no barrier decoder"):
        SYSTEMS["barrier"].open_own(None, None, tmp_path)
