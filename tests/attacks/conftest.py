"""What the tests of attacks share."""

import pytest

from tests.quick import quick_compilation


@pytest.fixture(scope="module", autouse=True)
def quick():
    """All trainings that are compared compile alike."""
    with quick_compilation():
        yield
