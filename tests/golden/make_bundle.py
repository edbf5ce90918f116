"""Makes stored/bundle.zip: `python -m tests.golden.make_bundle` from the repository, **once**.

The first format of an evidence bundle, with names, a signature of the arbitrator's statements,
and the key that is spent. Later versions have to accept it.
"""

import pathlib
import shutil
import tempfile

from anw_jax import audit
from tests.cli.bundling import anw, finished
from tests.golden.make_cases import FOLDER

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as empty:
        root = pathlib.Path(empty)
        case = finished(root).root / "case"
        audit.new_signing_key(root / "jane.sign")
        audit.sign_file(case / "statements.toml", root / "jane.sign")
        named = ("--key", root / "ann.key", "--out", root / "bundle.zip", "--with-names")
        assert anw("bundle", case, *named).code == 0
        shutil.copyfile(root / "bundle.zip", FOLDER / "bundle.zip")
