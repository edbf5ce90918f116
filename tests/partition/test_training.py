import functools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import train
from anw_jax.errors import AggregationError, CheckpointError, DivergenceError
from anw_jax.partition import Channel, Defence, find_images, run_owner, train_split
from anw_jax.partition.owner import _Batch, owner_step
from anw_jax.partition.server import _top_step
from anw_jax.partition.settings import at_rate, to_vector
from tests.partition.parties import made_up, play, tiny

DEFENCE = Defence(clip_norm=4.0, noise=0.05, adversary=1.0, distance_correlation=0.1)


class Going:
    """A connection whose party goes after some messages."""

    def __init__(self, connection, num_messages):
        self._connection, self._left = connection, num_messages

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def send_bytes(self, body):
        self._left -= 1
        if self._left < 0:
            self._connection.close()
        self._connection.send_bytes(body)


def _run_and_go(num_messages, connection, *arguments, **options):
    run_owner(Going(connection, num_messages), *arguments, **options)


def going_after(num_messages):
    return functools.partial(_run_and_go, num_messages)


def vectors(result) -> np.ndarray:
    return np.concatenate([to_vector(result.bottom), to_vector(result.top)])


def assert_same_last_round(result, expected):
    """Threads that share a processor may sum in another order, and Adam's first steps turn
    rounding into whole steps of single weights: the loss is compared, not the bits."""
    assert result.lost == expected.lost == {}
    assert result.reports[-1].loss == pytest.approx(expected.reports[-1].loss, rel=1e-3)


@pytest.fixture(scope="module")
def whole(owners_files, tmp_path_factory):
    """A training without a defence, with all its messages."""
    folder = tmp_path_factory.mktemp("whole")
    return play(tiny(), owners_files, folder, keeps_bodies=True), folder


def test_all_rounds_are_played_and_no_message_holds_an_image(whole, owners_files):
    result, folder = whole
    assert result.completed
    assert [(r.number, r.num_owners) for r in result.reports] == [(1, 3), (2, 3)]
    assert result.lost == {}
    images = np.concatenate([np.load(path)["images"] for path in owners_files])
    assert find_images(folder / "trace", images) == []
    # Of an owner: in each round 3 shares and 4 messages of the sum; of the server: the model,
    # 3 gradients and 3 of the sum, and "done" at the end.
    assert len(list((folder / "trace").glob("owner1-server-*.npz"))) == 14
    assert len(list((folder / "trace").glob("server-owner1-*.npz"))) == 15


def test_a_leak_planted_in_a_training_is_found(owners_files, tmp_path, monkeypatch):
    images, send = np.load(owners_files[1])["images"], Channel.send

    def planting(self, kind, **arrays):
        if (self.sender, kind) == ("owner2", "revealed"):
            arrays["more"] = images[5]
        send(self, kind, **arrays)

    monkeypatch.setattr(Channel, "send", planting)
    play(tiny(num_rounds=1), owners_files, tmp_path, keeps_bodies=True)
    found = find_images(tmp_path / "trace", images)
    assert {(leak.message, leak.image) for leak in found} == {("owner2-server-000007.npz", 5)}


def test_an_average_is_the_mean_of_the_owners_weights(whole, owners_files):
    """The masked mean of a training equals a plain mean of weights moved one by one."""
    result, _ = whole
    settings = tiny()
    owned, top = settings.first_weights()
    images = [np.load(path)["images"].astype(np.float32) / 255 for path in owners_files]
    labels = [np.load(path)["labels"] for path in owners_files]
    plans = [train.Batches({"x": x}, _plan(settings, n)) for n, x in enumerate(images, 1)]
    for number in range(settings.num_rounds):
        step, rate = owner_step(settings.program), settings.rate(number)
        move = jax.jit(step.update)
        step_top, init_top = _top_step(settings.program)
        state_top, begun = at_rate(init_top(top), rate), step.init(owned)
        states = [begun.replace(opt_state=at_rate(begun.opt_state, rate))] * 3
        for index in range(settings.steps_per_round):
            place = number * settings.steps_per_round + index
            rows = [plan.rows(place, 1)[0] for plan in plans]
            x = [images[n][rows[n]] for n in range(3)]
            seen = [
                settings.net.bottom(s.params["bottom"], own)
                for s, own in zip(states, x, strict=True)
            ]
            y = np.concatenate([labels[n][rows[n]] for n in range(3)]).astype(np.int32)
            top, state_top, gradient, _ = step_top(top, state_top, np.concatenate(seen), y)
            parts = np.split(np.asarray(gradient), 3)
            states = [
                move(states[n], _Batch(x[n], parts[n]), jax.random.key(0))[0] for n in range(3)
            ]
        mean = np.mean([to_vector(s.params).astype(np.float64) for s in states], axis=0)
        owned = settings.unravel()[0](mean.astype(np.float32))
    np.testing.assert_allclose(to_vector(owned["bottom"]), to_vector(result.bottom), atol=5e-4)
    np.testing.assert_allclose(to_vector(top), to_vector(result.top), atol=5e-4)


def _plan(settings, number):
    from anw_jax import data

    return data.BatchPlan(24, settings.batch_size, settings.seed + number).rows


def test_the_split_gradient_is_that_of_the_whole_network():
    settings = tiny()
    owned, top = settings.first_weights()
    images, labels = made_up(8, 5)
    x, y = jnp.asarray(images / 255.0, jnp.float32), jnp.asarray(labels, jnp.int32)

    def whole_loss(bottom):
        logits = settings.net.top(top, settings.net.bottom(bottom, x))
        return train.cross_entropy(logits, y).mean()

    expected = to_vector(jax.jit(jax.grad(whole_loss))(owned["bottom"]))
    seen = jax.jit(settings.net.bottom)(owned["bottom"], x)
    step_fn, init_fn = _top_step(settings.program)
    gradient = step_fn(top, init_fn(top), seen, y)[2]

    @jax.jit
    def pulled_back(bottom):
        return jax.vjp(lambda b: settings.net.bottom(b, x), bottom)[1](gradient)[0]

    found = pulled_back(owned["bottom"])
    np.testing.assert_allclose(to_vector(found), expected, rtol=2e-3, atol=1e-4)


def test_the_adversary_and_the_bottom_half_pull_in_opposite_directions():
    settings = tiny(defence=Defence(adversary=1.0, cap=1.0))
    owned, _ = settings.first_weights()
    step = owner_step(settings)
    images = jnp.asarray(made_up(8, 5)[0] / 255.0, jnp.float32)
    seen = jax.jit(settings.net.bottom)(owned["bottom"], images)
    batch = _Batch(images, jnp.zeros_like(seen))
    state = jax.jit(step.update)(step.init(owned), batch, jax.random.key(0))[0]

    @jax.jit
    def error(bottom, adversary):
        rebuilt = settings.adversary(adversary, settings.net.bottom(bottom, images))
        return jnp.square(rebuilt - images).mean()

    moved = state.params["adversary"]
    assert error(owned["bottom"], moved) < error(owned["bottom"], owned["adversary"])
    assert error(state.params["bottom"], moved) > error(owned["bottom"], moved)


@pytest.mark.parametrize(
    "num_messages", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4, 6, 8))]
)
def test_training_goes_on_without_an_owner_who_goes(owners_files, tmp_path, num_messages):
    """He goes before a share, his shares of the sum, his vector, what he reveals; later."""
    owners = {2: going_after(num_messages)}
    result = play(tiny(), owners_files, tmp_path, owners=owners)
    assert result.completed
    assert result.lost == {2: "owner2 has gone: its connection is closed"}
    assert result.reports[-1].num_owners == 2
    assert np.isfinite(vectors(result)).all()


def test_too_few_owners_stop_the_training_which_resumes(whole, owners_files, tmp_path):
    owners = {n: going_after(8) for n in (2, 3)}
    message = r"1 of 3 owners are left, and 2 are needed \(owner2 has gone.*start again"
    with pytest.raises(AggregationError, match=message):
        play(tiny(), owners_files, tmp_path, owners=owners)
    resumed = play(tiny(), owners_files, tmp_path)
    assert [r.number for r in resumed.reports] == [2]
    assert_same_last_round(resumed, whole[0])


def test_a_stopped_training_is_not_complete_and_a_complete_one_is_not_repeated(
    whole, owners_files, tmp_path
):
    stopped = play(tiny(), owners_files, tmp_path, should_stop=lambda: True)
    assert not stopped.completed
    resumed = play(tiny(), owners_files, tmp_path)
    assert resumed.completed
    assert_same_last_round(resumed, whole[0])
    again = play(tiny(), owners_files, tmp_path)
    assert again.reports == ()
    np.testing.assert_array_equal(vectors(again), vectors(resumed))


def test_a_file_of_another_training_or_a_damaged_one_is_refused(owners_files, tmp_path):
    play(tiny(num_rounds=1, steps_per_round=1), owners_files, tmp_path)
    with pytest.raises(CheckpointError, match="is of a training with other settings"):
        play(tiny(), owners_files, tmp_path)
    (tmp_path / "split.npz").write_bytes(b"no file")
    with pytest.raises(CheckpointError, match="is damaged: delete it"):
        play(tiny(), owners_files, tmp_path)


def test_owners_with_bad_files_are_named(owners_files, tmp_path):
    images, labels = made_up(24, 0)
    bad = {
        "is missing": {},
        "labels must be below num_classes = 2, got 9": {"images": images, "labels": labels + 8},
        "must hold at least 8 images": {"images": images[:, :6], "labels": labels},
        "has no array 'labels'": {"images": images},
    }
    for number, (message, arrays) in enumerate(bad.items()):
        path = tmp_path / f"bad{number}.npz"
        if arrays:
            np.savez(path, **arrays)
        files = [owners_files[0], owners_files[1], path]
        settings = tiny(num_rounds=1, steps_per_round=1)
        result = play(settings, files, tmp_path / str(number))
        assert list(result.lost) == [3]
        assert "owner3 failed: SourceError" in result.lost[3]
        assert arrays == {} or message in result.lost[3]


def test_a_loss_that_is_not_finite_stops_the_training(owners_files, tmp_path):
    with pytest.raises((DivergenceError, AggregationError)):
        play(tiny(learning_rate=1e30), owners_files, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_owners": 2}, "num_owners must be at least 3, got 2"),
        ({"threshold": 1}, "threshold must be at least 2, got 1"),
        ({"threshold": 4}, "threshold must be at most num_parties = 3"),
        ({"image_shape": (7, 8, 3)}, "image_shape must be"),
        ({"steps_per_round": 0}, "steps_per_round must be at least 1"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


@pytest.mark.slow
def test_an_owner_goes_from_a_defended_training(owners_files, tmp_path):
    result = play(tiny(defence=DEFENCE), owners_files, tmp_path, owners={3: going_after(6)})
    assert result.completed
    assert list(result.lost) == [3]
    assert np.isfinite(vectors(result)).all()


@pytest.mark.slow
def test_owners_are_processes_and_one_that_is_killed_is_left_out(owners_files, tmp_path):
    import multiprocessing

    killed = []

    def on_round(report):
        if report.number == 1:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()

    result = train_split(
        owners_files, tiny(num_rounds=3), tmp_path, keeps_bodies=True, on_round=on_round
    )
    assert len(killed) == len(result.lost) == 1
    assert [r.num_owners for r in result.reports] == [3, 2, 2]
    images = np.concatenate([np.load(path)["images"] for path in owners_files])
    assert find_images(tmp_path / "trace", images) == []


def test_each_owner_has_a_file():
    with pytest.raises(ValueError, match="files must name 3 owners', got 2"):
        train_split(["a", "b"], tiny(), None)
