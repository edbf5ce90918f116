"""Programs that the tests start in a process of their own are no tests, and want PyTorch."""

import pytest

collect_ignore = ["learner_torch.py", "server_torch.py", "fuzz_child.py"]


@pytest.fixture
def few_sizes(monkeypatch):
    """A probe tries few sizes: large pictures cost time and show nothing here."""
    monkeypatch.setattr("anw_jax.suspects.probing.checks._SIDES", (28, 64))
