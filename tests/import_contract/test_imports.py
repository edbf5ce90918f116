"""The import contract: which package may import which, and what a bare import loads."""

import ast
import functools
import graphlib
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "anw_jax"

LAYER = {
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
    "schemes": 3,
    "attacks": 3,
    "baselines": 3,
    "partition": 3,
    "shards": 3,
    "audit": 3,
    "report": 4,
    "lab": 4,
    "cli": 5,
}
# Imports within a layer, beside those of layer 0: attacks, baselines and model watermarks train
# models, an attack may embed a watermark of its own, the log of model owners is signed as an
# audit is, owners' commands run over shards, and a run ends with its report.
SIDEWAYS = {
    ("lab", "report"),
    ("attacks", "train"),
    ("baselines", "train"),
    ("partition", "train"),
    ("schemes", "train"),
    ("schemes", "audit"),
    ("attacks", "schemes"),
    ("audit", "shards"),
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
    "suspects": {
        "numpy",
        "scipy",
        "jax",
        "onnxruntime",
        "torch",
        "diffusers",
        "safetensors",
        "keras",
        "urllib3",
        "PIL",
    },
    "data": {
        "numpy",
        "jax",
        "PIL",
        "pillow_heif",
        "skimage",
        "tensorflow_datasets",
        "tensorflow",
        "grain",
    },
    "models": {"numpy", "jax", "flax", "chex"},
    "train": {"numpy", "jax", "optax", "orbax", "chex"},
    "schemes": {"numpy", "scipy", "jax", "optax", "chex"},
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
    "partition": {
        "numpy",
        "jax",
        "optax",
        "chex",
        "cryptography",
        "dp_accounting",
        "skimage",
    },
    "shards": {"numpy"},
    "audit": {"numpy", "cryptography", "rfc3161_client", "opentimestamps"},
    "report": {"numpy", "matplotlib", "jinja2"},
    "lab": {"numpy", "jax", "ml_collections"},
    "cli": {"click", "numpy"},
}


def files_of(package: str) -> list[pathlib.Path]:
    """The Python files of a package, or the one file of a module."""
    module = PACKAGE / f"{package}.py"
    return [module] if module.exists() else sorted((PACKAGE / package).rglob("*.py"))


@functools.cache
def nodes_of(file: pathlib.Path) -> list[ast.AST]:
    """All nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(file.read_text())))


@functools.cache
def imports(file: pathlib.Path) -> frozenset[str]:
    """Dotted names that a file imports, wherever in it."""
    names = set()
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def packages_imported(package: str) -> set[str]:
    """The other packages of anw_jax that a package imports."""
    names = {name for file in files_of(package) for name in imports(file)}
    inside = {name.split(".")[1] for name in names if name.startswith("anw_jax.")}
    return inside - {package, "__version__"}


def violations(package: str, names: set[str]) -> list[str]:
    """What a package may not import."""
    found = []
    for name in sorted(names):
        top, _, rest = name.partition(".")
        if name == "anw_jax.__version__":
            continue
        if top == "anw_jax":
            other = rest.split(".")[0]
            is_lower = LAYER[other] < LAYER[package] or LAYER[other] == LAYER[package] == 0
            if not (other == package or is_lower or (package, other) in SIDEWAYS):
                found.append(name)
        elif top not in sys.stdlib_module_names and top not in OUTSIDE[package]:
            found.append(name)
    return found


@pytest.mark.parametrize("package", LAYER)
def test_a_package_keeps_the_import_contract(package):
    found = {
        str(file.relative_to(PACKAGE)): violations(package, imports(file))
        for file in files_of(package)
    }
    assert {file: names for file, names in found.items() if names} == {}


def test_the_check_sees_a_violation():
    assert violations("stats", {"jax.numpy"}) == ["jax.numpy"]
    assert violations("verify", {"anw_jax.train.train"}) == ["anw_jax.train.train"]
    assert violations("data", {"anw_jax.models.create"}) == ["anw_jax.models.create"]


def test_packages_import_each_other_in_no_circle():
    graph = {package: packages_imported(package) for package in LAYER}
    assert list(graphlib.TopologicalSorter(graph).static_order())
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph | {"keys": {"cli"}}).prepare()


def test_each_library_of_a_suspect_enters_by_one_file():
    """And lazily: a bare import of `suspects` needs none of them (see below)."""
    libraries = OUTSIDE["suspects"] - {"numpy", "scipy", "jax"}
    used = [
        (name.partition(".")[0], file.relative_to(PACKAGE / "suspects").as_posix())
        for file in files_of("suspects")
        for name in imports(file)
        if name.partition(".")[0] in libraries
    ]
    assert sorted(set(used)) == [
        ("PIL", "http/png.py"),
        ("diffusers", "adapters/denoiser.py"),
        ("keras", "adapters/keras.py"),
        ("onnxruntime", "adapters/onnx.py"),
        ("safetensors", "adapters/denoiser.py"),
        ("torch", "adapters/torch.py"),
        ("urllib3", "http/client.py"),
    ]


def test_every_package_has_a_layer():
    found = {file.relative_to(PACKAGE).parts[0] for file in PACKAGE.rglob("*.py")}
    assert {name.removesuffix(".py") for name in found} - {"__init__"} == set(LAYER)
    assert set(LAYER) == set(OUTSIDE)


def test_no_file_is_over_400_lines():
    folders = [
        PACKAGE,
        *(
            PACKAGE.parent / name
            for name in ("benchmarks", "examples", "experiments", "tests", "tools")
        ),
    ]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    assert len(files) > 200
    assert [f.name for f in files if len(f.read_text().splitlines()) > 400] == []


def test_only_run_py_and_notebooks_print():
    printing = [
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        for node in nodes_of(file)
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
slow = {"scipy.stats", "scipy.optimize", "scipy.special"}
assert not slow & set(sys.modules), "parts of scipy are imported by their first use"
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & Blocker.banned, loaded & Blocker.banned
import jax
assert not jax._src.xla_bridge._backends, "a device was grabbed at import"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=120)


@pytest.mark.parametrize(
    "package", ["keys", "verify", "suspects", "audit", "cli", "train", "models", "report"]
)
def test_json_is_read_strictly(package):
    """A JSON file that programs read differently is refused."""
    for file in files_of(package):
        used = {ast.unparse(n) for n in nodes_of(file) if isinstance(n, ast.Attribute)}
        assert not used & {"json.load", "json.loads"}, f"{file}: _json.loads reads JSON"
