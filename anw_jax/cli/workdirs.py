"""This project's own trainings as suspects: kind = "workdir"."""

from typing import Any

from anw_jax.suspects import Declaration, JaxSuspect, Suspect


def _workdir(fields: Any) -> Suspect:
    """The newest checkpoint of a run, with its network; needs the extra 'run'."""
    folder, declared = fields.beside("file"), fields.table("declaration")
    if declared.get("identity"):
        raise ValueError("declaration must name no identity: it is computed from the weights")
    try:
        from anw_jax.train import load_model
    except ImportError:
        from anw_jax.suspects.adapters.base import missing

        raise missing("asking a workdir", "run") from None
    inside = folder / "checkpoints"
    model, variables = load_model(inside if inside.is_dir() else folder)
    declaration = Declaration.from_json({"num_classes": model.num_classes, **declared})
    return JaxSuspect(model.predict_fn(variables), declaration)


MAKERS = {"workdir": _workdir}
