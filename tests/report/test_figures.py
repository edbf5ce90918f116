"""The numbers behind the figures, and the figure for the README."""

import csv
import pathlib

import matplotlib.image
import numpy as np
import pytest

from anw_jax import report
from anw_jax.report import curves, hues, photos, reading, style
from docs import update_readme


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def claim(folder) -> reading.UserRecord:
    return reading.read_run(folder).claims[0]


def test_numbers_of_each_figure_are_next_to_it(make_workdir):
    folder = make_workdir()
    report.write_report(folder)
    stems = {file.stem for file in (folder / "figures").iterdir()}
    assert {"loss_keyed", "hues_keyed", "map_keyed", "null_keyed", "photos_keyed"} < stems
    for stem in stems:
        assert {f.suffix for f in (folder / "figures").glob(f"{stem}.*")} == {
            ".png",
            ".svg",
            ".csv",
        }
    user = claim(folder)
    rows = read_csv(folder / "figures" / "loss_keyed.csv")
    kept = [float(row["mean_loss_nats"]) for row in rows]
    np.testing.assert_allclose(kept, user.numbers["curve"]["mean"], rtol=1e-8)
    hit_rows = read_csv(folder / "figures" / "hues_keyed.csv")
    assert sum(int(row["is_hit"]) for row in hit_rows) == user.numbers["num_hits"]
    null_rows = read_csv(folder / "figures" / "null_keyed.csv")
    (observed,) = [float(row["z"]) for row in null_rows if row["is_observed"] == "1"]
    assert observed == pytest.approx(user.numbers["z"], abs=0.06)


@pytest.mark.parametrize("scheme", ["per_image", "per_group", "per_user"])
def test_angle_under_a_photo_is_the_one_it_was_turned_by(make_workdir, scheme):
    groups = [1, 0, 1, 0, 1, 0] if scheme == "per_group" else None
    folder = make_workdir({"scheme": scheme, "groups": groups})
    user = claim(folder)
    for pair in photos.pairs_of(user):
        turned = photos.pairs_of(user)[pair.number - 1].published
        again = style.marks.publish(
            style.marks.HueRotation(), pair.original[None], pair.degrees
        )
        np.testing.assert_array_equal(turned, again[0])


def test_map_has_the_secret_hue_in_the_middle(make_workdir):
    user = claim(make_workdir({"strength": 50.0}))
    ranks, steps = hues.aligned_ranks(user), hues.aligned_steps(user)
    assert (ranks[:, steps == 0] == 0.0).all()
    assert (hues.hues_of(user).offsets == 0).all()
    assert sorted(np.asarray(steps) % 36) == list(range(36))


def test_offsets_go_the_short_way_round():
    slots = hues.Hues(np.array([1, 11, 3]), np.array([11, 1, 9]), 12)
    assert slots.offsets.tolist() == [-2, 2, -6]
    assert slots.expected_hits == pytest.approx(3 / 11)


def test_curve_of_a_control_is_against_the_hue_itself(make_workdir):
    folder = make_workdir({"name": "held_out", "kind": "held_out"})
    user = reading.read_run(folder).controls[0]
    curve = curves.curve_of(user)
    assert not curve.is_aligned
    assert curve.degrees[0] == -180.0
    at_zero = curve.mean[curve.degrees == 0.0]
    np.testing.assert_allclose(at_zero, user.numbers["one_signature"]["curve"][0])
    spread = user.table[:, 0].astype(float).std() / np.sqrt(len(user.table))
    np.testing.assert_allclose(curve.error[curve.degrees == 0.0], spread)


@pytest.mark.parametrize("size", [(8, 8), (96, 96), (97, 200), (1, 500), (448, 448)])
def test_large_photos_are_shown_small(make_workdir, size):
    small = photos.shrunk(np.full((*size, 3), 200, np.uint8))
    assert max(small.shape[:2]) <= 96
    assert (small == 200).all()


def test_hue_colours_differ_and_go_once_round():
    colours = style.hue_colours(12)
    assert colours.shape == (12, 3)
    apart = np.abs(colours[:, None] - colours[None]).max(axis=-1) + np.eye(12)
    assert apart.min() > 0.05


def test_formulas_do_not_reach_a_spreadsheet(tmp_path):
    style.write_csv(tmp_path / "x.csv", {"file": ["=1+1", "a"], "degrees": [-30.0, np.nan]})
    assert (tmp_path / "x.csv").read_text() == "file,degrees\n'=1+1,-30\na,nan\n"


def test_readme_figure_of_a_workdir_and_of_seeds(make_workdir, tmp_path):
    paths = []
    for seed in (0, 1):
        folder = make_workdir(seed=seed)
        body = (folder / "results.json").read_text()
        (tmp_path / f"seed{seed}.json").write_text(body)
    for number, source in enumerate((folder, tmp_path)):
        path = tmp_path / "pictures" / f"{number}.png"
        assert report.write_readme_figure(source, path) == path
        paths.append(matplotlib.image.imread(path))
    assert [picture.shape[1] for picture in paths] == [1600, 1600]
    # Photos are on the left only if the folder has them.
    assert [float(p[:, :250, :3].min()) < 0.9 for p in paths] == [True, False]


def test_the_script_of_the_readme_draws_it_from_a_run(make_workdir, tmp_path, monkeypatch):
    root, folder = tmp_path / "root", make_workdir()
    (root / "docs").mkdir(parents=True)
    (root / "results").symlink_to(update_readme.ROOT / "results")
    (root / "README.md").write_bytes((update_readme.ROOT / "README.md").read_bytes())
    monkeypatch.setattr(update_readme, "ROOT", root)
    update_readme.main([])
    assert not (root / "docs" / "readme.png").exists()
    update_readme.main([f"--figure={folder}"])
    assert matplotlib.image.imread(root / "docs" / "readme.png").shape[1] == 1600
    with pytest.raises(SystemExit, match=r"^--figure: .*nothing"):
        update_readme.main([f"--figure={tmp_path / 'nothing'}"])


def test_readme_figure_needs_a_claim(make_workdir, tmp_path):
    with pytest.raises(ValueError, match="nobody makes a claim"):
        report.write_readme_figure(make_workdir({"kind": "unmarked"}), tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match=r"seed\*\.json"):
        report.write_readme_figure(tmp_path / "nothing", tmp_path / "x.png")
