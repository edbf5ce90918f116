"""Cases of several suspects and owners: "guilty" met ann's photos, "other" met other ones."""

from anw_jax import audit
from tests.audit.conftest import NUM_PHOTOS, hand_over, write_photos, write_suspect
from tests.audit.owners import saving_choices

NAMES = ("guilty", "other")


def declared_case(
    root, case_dir, owners=("ann",), suspects=NAMES, claim="one model", saving=None, **fields
):
    """A declared sequential case; returns the owners' keys."""
    keys = {
        owner: hand_over(
            root,
            case_dir,
            owner,
            seed=number,
            mode="sequential",
            claim=claim,
            choices=saving_choices(saving),
            **fields,
        )
        for number, owner in enumerate(owners, start=1)
    }
    if not (root / "others").exists():
        write_photos(root / "others", seed=99)
    for name in suspects:
        met = root / "ann_marked" / "published" if name == "guilty" else root / "others"
        write_suspect(case_dir, met, name)
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    return keys


def open_all(root, waiting, keys):
    """Every owner who is waited for opens one leaf."""
    for waits in waiting:
        folder = root / f"{waits.owner}_marked"
        audit.answer_request(waits.request, keys[waits.owner], folder, waits.opening)


def to_the_end(root, case_dir, keys, num_rounds=NUM_PHOTOS + 1):
    """Arbitrator and owners in turns; every call reads the case anew."""
    for _ in range(num_rounds):
        standing = audit.run_rounds(audit.Case(case_dir))
        if not standing.waiting:
            return standing
        open_all(root, standing.waiting, keys)
    return audit.run_rounds(audit.Case(case_dir))
