"""Makes results.json: `python -m tests.golden.make_results` from the repository."""

import json
import pathlib
from typing import Any

from tests.golden import stored_results


def golden() -> dict[str, Any]:
    """What is read from each committed table; one entry a line in the file."""
    found = {
        "/".join(str(facts[name]) for name in ("study", "seed", "changed", "user")): table
        for facts, table in stored_results.real_tables()
    }
    for name in ("lower_bound", "bounded_score"):
        for owner, table, _ in stored_results.owners_rows(name):
            found[f"{name}/{owner}"] = table
    return {name: stored_results.numbers_of(table) for name, table in found.items()}


if __name__ == "__main__":
    lines = [f" {json.dumps(name)}: {json.dumps(body)}" for name, body in golden().items()]
    path = pathlib.Path(__file__).with_name("results.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
