"""The walls of the house: who may import whom, and what a bare import pulls in."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "anw_jax"

RING = {
    "_check": 0,
    "_console": 0,
    "_files": 0,
    "_json": 0,
    "_jax_flags": 0,
    "_jax_settings": 0,
    "errors": 0,
    "progress": 0,
    "keys": 0,
    "marks": 0,
    "stats": 0,
    "verify": 1,
    "sequential": 2,
    "suspects": 2,
    "data": 2,
    "models": 2,
    "train": 3,
    "attacks": 3,
    "baselines": 3,
    "audit": 3,
    "report": 4,
    "lab": 4,
    "cli": 5,
}
# Beside lower rings (rooms of ring 0 share freely): who changes or questions trainings makes
# some, and a run ends with its page.
SIDEWAYS = {
    ("lab", "report"),
    ("attacks", "train"),
    ("baselines", "train"),
}

OUTSIDE = {
    "_check": {"numpy"},
    "_console": set(),
    "_files": {"numpy"},
    "_json": set(),
    "_jax_flags": {"jaxlib"},
    "_jax_settings": {"jax"},
    "errors": set(),
    "progress": set(),
    "keys": {"numpy"},
    "marks": {"numpy", "jax"},
    "stats": {"numpy", "scipy"},
    "verify": {"numpy", "scipy", "jax", "jaxlib"},
    "sequential": {"numpy"},
    "suspects": {"numpy", "scipy", "jax", "onnxruntime", "torch", "keras", "urllib3"},
    "data": {"numpy", "jax", "PIL", "skimage", "tensorflow_datasets", "tensorflow", "grain"},
    "models": {"numpy", "jax", "flax", "chex"},
    "train": {"numpy", "jax", "optax", "orbax", "chex"},
    "attacks": {
        "numpy",
        "jax",
        "optax",
        "chex",
        "dm_pix",
        "jax_privacy",
        "dp_accounting",
        "PIL",
        "skimage",
    },
    "baselines": {"numpy", "scipy", "jax", "optax"},
    "audit": {"numpy"},
    "report": {"numpy", "matplotlib", "jinja2"},
    "lab": {"numpy", "jax", "ml_collections"},
    "cli": {"click", "numpy"},
}


def modules() -> list[tuple[str, pathlib.Path]]:
    """Each file of the package with its room."""
    files = [file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE]
    rooms = [(file.relative_to(PACKAGE).parts[0], file) for file in files]
    top = [(file.stem, file) for file in PACKAGE.glob("*.py") if file.stem != "__init__"]
    return sorted(rooms + top)


def imports(file: pathlib.Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def violations(room: str, names: set[str]) -> list[str]:
    """What a room may not import."""
    found = []
    for name in sorted(names):
        top, _, rest = name.partition(".")
        if top == "anw_jax":
            other = rest.split(".")[0]
            lower = RING[other] < RING[room] or RING[other] == RING[room] == 0
            if not (other == room or lower or (room, other) in SIDEWAYS):
                found.append(name)
        elif top not in sys.stdlib_module_names and top not in OUTSIDE[room]:
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("room", "file"), modules(), ids=lambda value: getattr(value, "name", value)
)
def test_imports_stay_within_the_walls(room, file):
    assert violations(room, imports(file)) == []


def test_the_wall_check_sees_a_hole():
    assert violations("stats", {"jax.numpy"}) == ["jax.numpy"]
    assert violations("verify", {"anw_jax.train.train"}) == ["anw_jax.train.train"]
    assert violations("data", {"anw_jax.models.create"}) == ["anw_jax.models.create"]


def test_each_library_of_a_suspect_enters_by_one_file():
    """And lazily: a bare import of the room needs none of them (see below)."""
    rooms = {"onnxruntime", "torch", "keras", "urllib3"}
    used = [
        (name.partition(".")[0], file.relative_to(PACKAGE / "suspects").as_posix())
        for room, file in modules()
        if room == "suspects"
        for name in imports(file)
        if name.partition(".")[0] in rooms
    ]
    assert sorted(set(used)) == [
        ("keras", "adapters/keras.py"),
        ("onnxruntime", "adapters/onnx.py"),
        ("torch", "adapters/torch.py"),
        ("urllib3", "http/client.py"),
    ]


def test_every_room_has_a_ring():
    assert {room for room, _ in modules()} == set(RING) == set(OUTSIDE)


def test_no_file_is_over_400_lines():
    folders = [
        PACKAGE,
        *(PACKAGE.parent / name for name in ("benchmarks", "experiments", "tests", "tools")),
    ]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    assert len(files) > 200
    assert [f.name for f in files if len(f.read_text().splitlines()) > 400] == []


def test_only_run_py_and_notebooks_print():
    printing = [
        file.relative_to(PACKAGE).as_posix()
        for _, file in modules()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    # The journal is what a person sees of a run; the report prints a table when run.
    assert set(printing) <= {"lab/journal.py", "report/__main__.py"}


def test_importing_verify_needs_only_numpy_scipy_and_jax():
    """Anything outside the core fails to import here, as on an arbitrator's machine."""
    script = """
import sys
class Blocker:
    banned = {"flax", "optax", "orbax", "tensorflow_datasets", "absl", "chex", "tensorflow",
              "ml_collections", "matplotlib", "jinja2", "PIL", "skimage", "grain", "torch",
              "keras", "onnxruntime", "urllib3", "click"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.banned:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
import anw_jax.verify, anw_jax.keys, anw_jax.marks, anw_jax.stats, anw_jax.suspects
import anw_jax.sequential, anw_jax.audit
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & Blocker.banned, loaded & Blocker.banned
import jax
assert not jax._src.xla_bridge._backends, "a device was grabbed at import"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("room", ["keys", "verify", "suspects", "audit", "cli"])
def test_json_is_read_strictly(room):
    """Where verdicts are made, no file says one thing here and another elsewhere."""
    for file in (PACKAGE / room).rglob("*.py"):
        used = {ast.unparse(node) for node in ast.walk(ast.parse(file.read_text()))}
        assert not used & {"json.load", "json.loads"}, f"{file}: _json.loads reads JSON"
