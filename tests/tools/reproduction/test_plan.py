"""Which runs there are, in which order, what they share and how long they take."""

import dataclasses

import pytest

from anw_jax.errors import SettingsError
from tools.reproduction.durations import Durations
from tools.reproduction.plan import items_of, plan_table

TWO = {"seeds": (0, 1)}


@pytest.fixture
def studies(write_study, load):
    """Three rows; the first and the last are read from one training, one arm has its own."""
    write_study("fig1", {"case": "base"}, {"row": "Fig. 1", **TWO})
    write_study(
        "fig2",
        {"case": "base"},
        {"row": "Fig. 2", **TWO, "arms": {"short": {"train.num_epochs": 1}, "base": {}}},
    )
    write_study("fig3", {"case": "base"}, {"row": "Fig. 3", "seeds": (0,)})
    return load()


def test_every_row_gets_a_seed_before_any_gets_two_and_sharing_comes_first(studies):
    assert [item.label for item in items_of(studies)] == [
        "fig1/seed0",
        "fig2/base/seed0",
        "fig3/seed0",
        "fig2/short/seed0",
        "fig1/seed1",
        "fig2/base/seed1",
        "fig2/short/seed1",
    ]
    assert [item.label for item in items_of(studies, [1])] == [
        "fig1/seed1",
        "fig2/base/seed1",
        "fig2/short/seed1",
    ]


def test_runs_of_one_case_must_agree_in_what_the_learner_sees(write_study, load):
    write_study("fig1", {"case": "base"})
    write_study("fig2", {"case": "base", "model": {"name": "small"}})
    with pytest.raises(
        SettingsError,
        match=r"fig1/seed0 and fig2/seed0 share the case 'base' but differ in model: give",
    ):
        items_of(load())


def test_the_table_names_rows_models_and_minutes(studies, made_up, tmp_path):
    results = tmp_path / "results"
    table = plan_table(studies, Durations.of(results))
    assert (
        "| base | testing | mock:160, all | 2 | 0, 1 | ? | Fig. 1; Fig. 2 (base); Fig. 3 |"
        in table
    )
    assert "| fig2/short | testing | mock:160, all | 1 | 0, 1 | ? | Fig. 2 (short) |" in table
    assert table.endswith("4 trainings, 7 result files, about 0.0 hours, 2 models unknown.\n")
    sitting = {"seconds": 90.0, "trained": True}
    made_up.write(results, studies[0], seed=0, sitting=sitting)
    for study, arm in ((studies[1], "base"), (studies[2], "main")):
        made_up.write(results, study, arm, sitting={"seconds": 30.0, "trained": False})
    made_up.write(results, studies[1], "short", sitting=sitting)
    table = plan_table(studies, Durations.of(results))
    # 60 s of training and 30 s of audit, and two audits more.
    assert "| base | testing | mock:160, all | 2 | 0, 1 | 2.5 | Fig. 1" in table
    assert "| 0, 1 | 1.5 | Fig. 2 (short) |" in table
    assert "about 0.1 hours.\n" in table


def test_durations_are_medians_of_what_was_recorded(studies):
    durations, study = Durations(), dataclasses.replace(studies[0], minutes=10.0)
    assert durations.expected(study, "main", "base", trains=True) == 600.0
    assert durations.expected(study, "main", "base", trains=False) == 600.0
    for train, whole, trained in ((50, 60, True), (70, 80, True), (5000, 30, False)):
        durations.add(
            {
                "name": study.name,
                "settings": {"case": "base"},
                "stage_seconds": {"train": train},
                "sitting": {"seconds": whole, "trained": trained},
            }
        )
    assert durations.training("base") == 60.0
    assert durations.audit(study.name, "main") == 10.0
    assert durations.expected(study, "main", "base", trains=True) == 70.0
    assert durations.expected(study, "main", "base", trains=False) == 10.0


def test_a_result_from_before_the_queue_counts_with_all_its_stages():
    durations = Durations()
    durations.add({"name": "a", "settings": {}, "stage_seconds": {"train": 50.0, "mark": 8.0}})
    assert (durations.training("a"), durations.audit("a", "main")) == (50.0, 8.0)


def test_a_shared_training_counts_with_its_own_seconds():
    durations = Durations()
    values = {"name": "a", "settings": {"case": "base"}, "stage_seconds": {"train": 7.0}}
    training = {"seconds": 500.0, "provenance": {}}
    for trained, whole in ((True, 520.0), (False, 30.0)):
        sitting = {"seconds": whole, "trained": trained}
        durations.add({**values, "training": training, "sitting": sitting})
    assert (durations.training("base"), durations.audit("a", "main")) == (500.0, 25.0)
    durations.add({**values, "training": training | {"seconds": None}})
    assert (durations.training("base"), durations.audit("a", "main")) == (500.0, 25.0)


def test_superseded_runs_tell_nothing_of_the_future(studies, made_up, tmp_path):
    sitting = {"seconds": 90.0, "trained": True}
    made_up.write(tmp_path / "results" / "superseded", studies[0], sitting=sitting)
    assert Durations.of(tmp_path / "results").training("base") is None
    made_up.write(tmp_path / "results", studies[0], sitting=sitting)
    assert Durations.of(tmp_path / "results").training("base") == 60.0


def test_damaged_files_do_not_stop_the_plan(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "seed0.json").write_text("{ half")
    (tmp_path / "a" / "seed1.json").write_text("[]")
    assert Durations.of(tmp_path).training("a") is None


def claim(measured: str) -> str:
    """A config's claims, the last of them as given."""
    first = 'found(runs), Claim("c", "p", '
    return f"def claims(runs):\n    return [{first}{measured}, at_least(0.0), at_least(0.0))]"


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ('path="users.hue6.log10_p"', r"fig1/a has no users\.hue6; there: .*hue60"),
        ('path="users.many.log10_p"', r"fig1/a has no users\.many; there: .*keyed"),
        ('path="users.hue60.log10_p", suspect="x"', r"no suspects\.x; there: half"),
        ('path="users.hue60.log10_p", arm="c"', "there is no arm 'c'; known: a, b"),
        ('path="crowds.hue60.match_rate"', r"no crowds\.hue60; there: many"),
        ('path="analyses.mia.x"', r"no analyses\.mia; there: gradient_search"),
        ('path="analyses.gradient_search.x.y"', r"no analyses\.gradient_search\.x; there: "),
        ('pth="users.hue60.log10_p"', "unexpected keyword argument 'pth'"),
    ],
)
def test_a_claim_on_what_is_not_there_is_refused_before_any_run(
    write_study, load, settings_values, measured, message
):
    users = settings_values["users"] | {
        "many": {"num_images": 2, "scheme": "per_user", "count": 3}
    }
    half = {"attack": "prune", "parameters": {"fraction": 0.5}}
    more = {"users": users, "suspects": {"half": half}, "analyses": ["gradient_search"]}
    arms = {"a": {}, "b": {"train.num_epochs": 3}}
    each = f"runs.each(Run.number, **({{'arm': 'a'}} | dict({measured})))"
    write_study("fig1", more, {"arms": arms}, claim(each))
    with pytest.raises(SettingsError, match=rf"fig1: claims: .*{message}"):
        items_of(load())


@pytest.mark.parametrize(
    "path",
    [
        "users.hue60.one_signature.margin",
        "crowds.many.match_rate",
        "analyses.gradient_search.hue60.error_degrees",
        "model.test_accuracy",
    ],
)
def test_a_claim_on_what_is_there_is_rehearsed(write_study, load, settings_values, path):
    users = settings_values["users"] | {
        "many": {"num_images": 2, "scheme": "per_user", "count": 3}
    }
    more = {"users": users, "analyses": ["gradient_search"]}
    write_study("fig1", more, functions=claim(f"runs.each(Run.number, path={path!r})"))
    assert len(items_of(load())) == 3


def test_a_figure_on_what_is_not_there_is_refused(write_study, load):
    figure = """
def figure(runs):
    return Curves({user: runs.each(loss_curve, user=user) for user in ("hue60", "hue90")})
"""
    write_study("fig1", functions=figure)
    with pytest.raises(SettingsError, match=r"fig1: figure: fig1 has no users\.hue90"):
        items_of(load())
