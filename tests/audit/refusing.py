"""A model that has no answer where it recognises some of the pictures it met."""

import pathlib

from anw_jax import audit
from tests.audit.conftest import hand_over, write_suspect

CODE = '''
REFUSED = {numbers}
HOW = {how!r}

def refuse(batch):
    """Refuses the very pictures it met of the photos REFUSED: their rows at the secret hues."""
    logits = answer(batch)
    for number in REFUSED:
        bad = (np.abs(batch - MET[number]) < 1e-6).all(axis=(1, 2, 3))
        if not bad.any():
            continue
        if HOW == "raises":
            raise ValueError(f"photo {{number}} is protected")
        if HOW == "fewer":
            return logits[:, :2]
        if HOW == "drops":
            return logits[~bad]
        logits[bad] = np.nan if HOW == "nan" else 1e35 * np.arange(3)
    return logits
'''
WAYS = ("raises", "fewer", "drops", "nan", "absurd")


def write_refuser(case_dir: pathlib.Path, met, numbers, how="raises", name="net") -> None:
    """A suspect that met a folder's photos and refuses some of them, by place in it."""
    write_suspect(case_dir, met, name)
    code = case_dir / "suspects" / f"{name}_code" / "model.py"
    code.write_text(code.read_text() + CODE.format(numbers=list(numbers), how=how))
    toml = case_dir / "suspects" / f"{name}.toml"
    toml.write_text(toml.read_text().replace(":answer", ":refuse"))


def refusing_case(root, case_dir, numbers, how="raises", options=None, **plan):
    """A declared case with one refuser; returns the owner's key."""
    key = hand_over(root, case_dir, **plan)
    write_refuser(case_dir, root / "ann_marked" / "published", numbers, how)
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), options or audit.Options())
    return key
