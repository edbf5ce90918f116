"""docs/adapters.md, made from results/adapters.json and nothing else."""

from benchmarks import _measure

PAGE = _measure.REPOSITORY / "docs" / "adapters.md"


def page(body):
    return ""
