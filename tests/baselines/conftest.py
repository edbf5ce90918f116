import pytest

from tests.quick import quick_compilation


@pytest.fixture(scope="package", autouse=True)
def quick():
    """Nothing here depends on the last bits."""
    with quick_compilation():
        yield
