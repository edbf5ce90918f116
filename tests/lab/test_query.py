"""Loss tables of a run and their seals."""

import hashlib
import json

import jax
import numpy as np
import pytest

from anw_jax import lab
from anw_jax.errors import CommitmentError
from anw_jax.lab import journal, owners, query, workdir

pytestmark = pytest.mark.filterwarnings(
    # Orbax warns when it has to guess shardings; a resumed run tells it all of them.
    "ignore:Sharding info not provided"
)

OLD_SEAL = {"table", "tested_table", "model", "questions"}


def test_a_table_changed_after_its_seal_is_refused_not_asked_again(reopened):
    settings, folder = reopened
    with np.load(folder / "tables/keyed.npz") as arrays:
        changed = dict(arrays)
    changed["losses"][0, 0] += 1
    np.savez(folder / "tables/keyed.npz", **changed)
    with pytest.raises(CommitmentError, match=r"keyed.seal.json does not match its table"):
        lab.run(settings, folder)
    assert "CommitmentError" in (folder / "FAILED.txt").read_text()


def test_a_seal_is_that_of_an_audit(finished):
    """It names the file before it, its table, and what is inferred without the key."""
    _, folder, results = finished
    for name, numbers in results["users"].items():
        sealed = json.loads((folder / f"tables/{name}.seal.json").read_text())
        fixed = (folder / "commitments.json").read_bytes()
        assert sealed["previous"] == hashlib.sha256(fixed).hexdigest()
        table = (folder / f"tables/{name}.npz").read_bytes()
        assert sealed["file"] == hashlib.sha256(table).hexdigest()
        assert list(sealed["owners"]) == [name]
        blind = sealed["owners"][name]
        assert blind["table"] == sealed["tested_table"] == numbers["table_digest"]
        assert blind["inferred_slots"] == numbers["inferred_slots"]
        assert len(blind["confidence"]) == numbers["num_units"]
        assert blind["num_unusable"] == 0


def test_seals_of_versions_1_and_2_are_still_checked(reopened):
    """Its fields are those that older runs wrote."""
    settings, folder = reopened
    file = folder / "tables/keyed.seal.json"
    full = json.loads(file.read_text())
    seal = {name: part for name, part in full.items() if name in OLD_SEAL}
    file.write_text(json.dumps(seal))
    batches = query.query_batches(
        owners.prepare(settings, workdir.Workdir(folder)), settings.seed
    )
    batch = next(batch for batch in batches if batch.name == "keyed")
    with np.load(folder / "tables/keyed.npz") as arrays:
        table = arrays["losses"]
    grid, where = settings.verify.grid, workdir.Workdir(folder)
    stored = query._StoredTable(batch, grid, "", seal["model"], where, query.TABLES)
    np.testing.assert_array_equal(stored.read(), table)
    full["format"] = query._SECOND_FORMAT  # with the same digest of the model
    file.write_text(json.dumps(full))
    np.testing.assert_array_equal(stored.read(), table)
    for name in OLD_SEAL:
        file.write_text(json.dumps(full | {name: "0" * 64}))
        with pytest.raises(CommitmentError, match=r"keyed.seal.json does not match its table"):
            stored.read()
        file.write_text(json.dumps(seal | {name: "0" * 64}))
        with pytest.raises(CommitmentError, match=r"keyed.seal.json does not match its table"):
            stored.read()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("previous",), "0" * 64),
        (("file",), "0" * 64),
        (("owners", "keyed", "table"), "0" * 64),
        (("format",), "anw_jax sealed table of a run, version 4"),
        (("format",), None),
        (("owners",), None),
    ],
)
def test_a_changed_seal_is_refused(reopened, place, value):
    settings, folder = reopened
    file = folder / "tables/keyed.seal.json"
    body = seal = json.loads(file.read_text())
    *parents, last = place
    for name in parents:
        body = body[name]
    if value is None:  # left out, as if it were of version 1
        del body[last]
    else:
        body[last] = value
    file.write_text(json.dumps(seal))
    with pytest.raises(CommitmentError, match=r"keyed.seal.json does not match its table"):
        lab.run(settings, folder)


def test_a_table_of_other_views_is_refused(finished, tmp_path):
    settings, folder, _ = finished
    space = settings.verify.space
    opened = owners.prepare(settings, workdir.Workdir(folder))
    predict = jax.tree_util.Partial(_mean_colours, np.eye(3, 10, dtype=np.float32))
    log, own = journal.Journal(workdir.Workdir(tmp_path)), workdir.Workdir(tmp_path)
    own.write_json("commitments.json", {})

    def asked(num_views, seed):
        batches = query.query_batches(opened, seed, num_views)[:1]
        return query.query(batches, space, predict, own, log)

    first = asked(2, seed=0)
    np.testing.assert_equal(asked(2, seed=0), first)
    with pytest.raises(CommitmentError, match="these queries"):
        asked(3, seed=0)
    with pytest.raises(CommitmentError, match="these queries"):
        asked(1, seed=0)


def _mean_colours(weights, images):
    return images.mean((1, 2)) @ weights


def test_a_table_of_another_model_is_refused(reopened):
    settings, folder = reopened
    seal = json.loads((folder / "tables/keyed.seal.json").read_text())
    assert OLD_SEAL < set(seal)
    (folder / "tables/keyed.seal.json").write_text(json.dumps(seal | {"model": "0" * 64}))
    with pytest.raises(CommitmentError, match="this model"):
        lab.run(settings, folder)


def test_a_killed_table_resumes_at_its_last_block(finished, tmp_path, monkeypatch):
    """Answered blocks are not queried again; the table is the same."""
    settings, _, _ = finished
    opened = owners.prepare(settings, workdir.Workdir(tmp_path))
    queried: list[int] = []
    whole = np.random.default_rng(0).random((12, settings.verify.grid.num_slots), np.float32)

    def answer(predict, images, *_, **__):
        if len(queried) == 2:
            raise KeyboardInterrupt
        start = 4 * len(queried)
        queried.append(len(images))
        return whole[start : start + len(images)]

    monkeypatch.setattr(query, "_BLOCK_IMAGES", 4)
    monkeypatch.setattr(query.verify, "loss_table", answer)
    folder = workdir.Workdir(tmp_path)
    batch = query.query_batches(opened, settings.seed)[0]
    stored = query._StoredTable(batch, settings.verify.grid, "m", "", folder, "tables")
    log = journal.Journal(folder)
    with pytest.raises(KeyboardInterrupt):
        stored.fill(None, log)
    monkeypatch.setattr(query.verify, "loss_table", lambda p, images, *_, **__: whole[8:])
    np.testing.assert_array_equal(stored.fill(None, log), whole)
