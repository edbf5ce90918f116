"""Code that a suspect is made of: what its identity covers, and what it is warned of."""

import os
import warnings

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.errors import CaseError

HELPER = "SHIFT = 1.0\n"
NET = "def answer(batch):\n    return batch.mean((1, 2))\n"
HERE = "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"


def suspect(root, code, files="", name="net"):
    (root / f"{name}.py").write_text(code)
    text = f'kind = "callable"\nfunction = "{name}.py:answer"\n{files}'
    (root / f"{name}.toml").write_text(text + "[declaration]\nnum_classes = 3\n")
    return audit.SuspectFile.load(root / f"{name}.toml")


def warned(file, asked=True):
    """What is warned of when a suspect is opened, and asked twice."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        opened = file.open()
        for _ in range(2 * asked):
            opened.answers(np.zeros((2, 4, 4, 3), np.float32))
    return [str(warning.message) for warning in seen]


WAYS = {
    "import": HERE + "import helper\n",
    "from": HERE + "from helper import SHIFT\n",
    "importlib": HERE + "import importlib\nh = importlib.import_module('helper')\n",
    "by its place": (
        "import importlib.util, os\n"
        "p = os.path.join(os.path.dirname(__file__), 'helper.py')\n"
        "spec = importlib.util.spec_from_file_location('other', p)\n"
        "h = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(h)\n"
    ),
    "exec": (
        "import os\nwith open(os.path.join(os.path.dirname(__file__), 'helper.py')) as f:\n"
        "    exec(f.read())\n"
    ),
    "runpy": (
        "import os, runpy\n"
        "h = runpy.run_path(os.path.join(os.path.dirname(__file__), 'helper.py'))\n"
    ),
    "when asked": HERE
    + "def answer(batch):\n    import helper\n    return batch.mean((1, 2))\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_code_that_is_not_listed_is_warned_of(root, way):
    (root / "helper.py").write_text(HELPER)
    code = WAYS[way] + ("" if "def answer" in WAYS[way] else NET)
    assert warned(suspect(root, code)) == [
        "suspect 'net' runs code that its identity does not cover and that could be changed "
        f'unseen: list it in {root / "net.toml"}, files = ["helper.py"]'
    ]
    assert warned(suspect(root, code, 'files = ["helper.py"]\n')) == []


def test_a_package_and_what_it_imports(root):
    package = root / "net_parts"
    package.mkdir()
    (package / "__init__.py").write_text("from . import layers\n")
    (package / "layers.py").write_text("import numpy\n")
    (said,) = warned(suspect(root, HERE + "import net_parts\n" + NET))
    assert said.endswith('files = ["net_parts/__init__.py", "net_parts/layers.py"]')
    listed = 'files = ["net_parts/__init__.py", "net_parts/layers.py"]\n'
    file = suspect(root, HERE + "import net_parts\n" + NET, listed)
    first = file.open().declaration.identity
    (package / "layers.py").write_text("import numpy  # changed\n")
    assert file.open().declaration.identity != first


def test_installed_code_is_not_warned_of(root):
    code = "import colorsys, email.mime.text, scipy.ndimage, anw_jax.marks\nimport hypothesis\n"
    assert warned(suspect(root, code + NET)) == []


def test_code_of_this_program_counts_too(root):
    (said,) = warned(suspect(root, "from tests.suspects.twins import forward\n" + NET))
    assert 'tests/suspects/twins.py"' in said


def test_two_suspects_may_each_have_a_helper(root):
    answers = []
    for name, shift in (("a", 1), ("b", 2)):
        (root / name).mkdir()
        (root / name / "helper.py").write_text(f"SHIFT = {shift}\n")
        code = (
            HERE
            + "import helper\ndef answer(batch):\n    return batch[:, 0, 0] + helper.SHIFT\n"
        )
        opened = suspect(root / name, code, 'files = ["helper.py"]\n').open()
        answers.append(opened.answers(np.zeros((1, 2, 2, 3), np.float32)).scores[0, 0])
    assert answers == [1, 2]


def test_folders_and_output_are_kept_apart(root, capfd):
    (root / "other").mkdir()
    (root / "other" / "shift.txt").write_text("3")
    code = (
        f"import os\nimport numpy as np\nos.chdir({str(root / 'other')!r})\nprint('noise')\n"
        "def answer(batch):\n    print('noise')\n"
        "    return batch[:, 0, 0] + float(np.loadtxt('shift.txt'))\n"
    )
    before = os.getcwd()
    opened = suspect(root, code).open()
    assert opened.answers(np.zeros((1, 2, 2, 3), np.float32)).scores[0, 0] == 3
    assert os.getcwd() == before
    out, err = capfd.readouterr()
    assert (out, err) == ("", "noise\nnoise\n")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit(0)\n", "cannot be run (SystemExit: 0)"),
        (
            "import nothing_of_this_name\n",
            "cannot be run (ModuleNotFoundError: No module named",
        ),
        ("def answer(:\n", "cannot be run (SyntaxError: "),
        ("answer = 3\n", "has no function 'answer'"),
        ("\0", "cannot be run ("),
    ],
)
def test_files_that_cannot_be_run(root, code, says):
    with pytest.raises(CaseError) as error:
        suspect(root, code).open()
    assert says in str(error.value)


@pytest.mark.parametrize("name", ["function", "files", "file"])
def test_no_devices_pipes_and_folders(root, name):
    os.mkfifo(root / "pipe")
    for place in ("/dev/zero", "pipe", "."):
        if name == "file":
            text = f'kind = "recorded"\nfile = "{place}"\n'
        elif name == "files":
            (root / "net.py").write_text(NET)
            text = f'kind = "callable"\nfunction = "net.py:answer"\nfiles = ["{place}"]\n'
        else:
            text = f'kind = "callable"\nfunction = "{place}:answer"\n'
        (root / "odd.toml").write_text(text + "[declaration]\nnum_classes = 3\n")
        with pytest.raises(
            (CaseError, RuntimeError), match=r"cannot be read: |must be a file, but is a"
        ):
            audit.SuspectFile.load(root / "odd.toml").open()


def test_a_suspects_own_file_is_a_regular_one(root):
    (root / "odd.toml").symlink_to("/dev/zero")
    with pytest.raises(CaseError, match=r"odd\.toml must be a file, but is a (pipe|device)"):
        audit.SuspectFile.load(root / "odd.toml")


def test_a_module_that_cannot_be_made(root):
    torch = pytest.importorskip("torch")
    torch.save({}, root / "w.pt")
    text = (
        'kind = "torch"\nfile = "w.pt"\nmodule = "m.py:make"\n[declaration]\nnum_classes = 3\n'
    )
    (root / "net.toml").write_text(text)
    for body, says in [
        ("1 / 0", r"make\(\) failed \(ZeroDivisionError: division by zero\)"),
        ("raise SystemExit", r"make\(\) failed \(SystemExit: \)"),
        ("return 3", "module must be a torch.nn.Module, got int"),
    ]:
        (root / "m.py").write_text(f"def make():\n    {body}\n")
        with pytest.raises(CaseError, match=says):
            audit.SuspectFile.load(root / "net.toml").open()


def test_together_comes_from_the_file(root):
    (root / "net.py").write_text(
        "def answer(batch):\n    assert len(batch) == 1\n    return batch.mean((1, 2))\n"
    )
    text = 'kind = "callable"\nfunction = "net.py:answer"\n[options]\ntogether = 1\n'
    (root / "net.toml").write_text(text + "[declaration]\nnum_classes = 3\n")
    opened = audit.SuspectFile.load(root / "net.toml").open()
    assert len(opened.answers(np.zeros((3, 2, 2, 3), np.float32))) == 3
    (root / "net.toml").write_text(
        text.replace("= 1", "= 0") + "[declaration]\nnum_classes = 3\n"
    )
    with pytest.raises(CaseError, match="together must be at least 1, got 0"):
        audit.SuspectFile.load(root / "net.toml").open()
    for field in ('identity = "mine"', "batch = 1"):
        bad = text.replace("together = 1", field) + "[declaration]\nnum_classes = 3\n"
        (root / "net.toml").write_text(bad)
        with pytest.raises(CaseError, match="argument"):
            audit.SuspectFile.load(root / "net.toml").open()
