"""The API reference builds without a warning, and has every public name."""

import importlib
import pkgutil

import pytest

import anw_jax

pytest.importorskip("pdoc", reason="pdoc, of requirements-dev.txt, writes the reference")


@pytest.mark.slow
def test_every_package_has_a_page_with_its_names(tmp_path):
    from tools.api_reference import write_reference

    write_reference(tmp_path)
    names = [module.name for module in pkgutil.iter_modules(anw_jax.__path__)]
    for name in (name for name in names if not name.startswith("_")):
        page = (tmp_path / "anw_jax" / f"{name}.html").read_text()
        for public in getattr(importlib.import_module(f"anw_jax.{name}"), "__all__", ()):
            assert public in page, f"{name}.{public}"
    assert not list((tmp_path / "anw_jax").glob("_*.html"))
