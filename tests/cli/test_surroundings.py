"""A suspect's code that changes folders, prints, or leans on other files, through `anw`."""

import json
import os
import warnings

import pytest

from tests.audit.conftest import hand_over

DECLARATION = "[declaration]\nnum_classes = 3\n"
ANSWER = "def answer(batch):\n    return batch.mean((1, 2))\n"


@pytest.fixture
def case(root, monkeypatch):
    """A case whose path is relative to the working folder."""
    hand_over(root, root / "case")
    (root / "case" / "suspects").mkdir()
    (root / "other").mkdir()
    monkeypatch.chdir(root)
    return root / "case"


def write(case, code, **more):
    (case / "suspects" / "net.py").write_text(code)
    text = 'kind = "callable"\nfunction = "net.py:answer"\n'
    text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in more.items())
    (case / "suspects" / "net.toml").write_text(text + DECLARATION)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.chdir('other')\n" + ANSWER,
        "import os\nos.chdir('..')\n" + ANSWER,
        "import os\ndef answer(batch):\n    os.chdir('/')\n    return batch.mean((1, 2))\n",
        "import os\nos.mkdir('gone')\nos.chdir('gone')\nos.rmdir('../gone')\n" + ANSWER,
        "import os, pathlib\nos.chdir(pathlib.Path(__file__).parent)\n" + ANSWER,
    ],
)
def test_the_case_stays_where_it_was(anw, case, root, code):
    write(case, code)
    anw("probe", "case")
    assert (case / "probe.json").is_file()
    assert [p.parent.name for p in root.rglob("probe.json")] == ["case"]
    assert os.getcwd() == str(root)


@pytest.mark.parametrize(
    "code",
    [
        "print('noise')\n" + ANSWER,
        "def answer(batch):\n    print('noise')\n    return batch.mean((1, 2))\n",
        "import os\ndef answer(batch):\n    os.write(1, b'noise')\n"
        "    return batch.mean((1, 2))\n",
        "import sys\nsys.stdout.write('noise')\n" + ANSWER,
        "import logging, sys\nlogging.basicConfig(stream=sys.stdout, force=True)\n"
        "logging.error('noise')\nlogging.getLogger().handlers.clear()\n" + ANSWER,
    ],
)
def test_json_stays_json(anw, case, code):
    write(case, code)
    ran = anw("probe", "case", "--json")
    assert set(json.loads(ran.out)["suspects"]) == {"net"}


@pytest.mark.slow
def test_unlisted_code_is_a_warning_of_the_command(anw, case):
    (case / "suspects" / "helper.py").write_text("X = 1\n")
    here = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport helper\n"
    write(case, here + ANSWER)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        ran = anw("probe", "case")
        assert "anw: warning: suspect 'net' runs code that its identity" in ran.err
        assert 'files = ["helper.py"]' in ran.err
        write(case, here + ANSWER, files=["helper.py"])
        assert "warning" not in anw("probe", "case").err
