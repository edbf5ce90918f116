"""Makes transcripts/*.json: `python -m tests.golden.make_transcripts [NAME ...]`.

What changes there is a change that owners, arbitrators and their programs would meet.
"""

import inspect
import json
import pathlib
import sys
import tempfile
import unittest.mock
from typing import Any

from anw_jax.audit import options
from anw_jax.keys.plan_fields import DEFAULT_KINDS
from tests.golden import scenarios
from tests.golden.player import Player

FOLDER = pathlib.Path(__file__).with_name("transcripts")
SCENARIOS = {
    name: scenario
    for name, scenario in vars(scenarios).items()
    if inspect.isfunction(scenario) and not name.startswith("_")
}


def play(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """The transcript of one scenario, played in an empty folder."""
    player = Player(folder)
    # These commitments are older than the rule for errors, and must stay as they are.
    with unittest.mock.patch.object(options, "DEFAULT_ACCESS", DEFAULT_KINDS):
        SCENARIOS[name](player)
    return json.loads(json.dumps(player.transcript()))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SCENARIOS:
        with tempfile.TemporaryDirectory() as empty:
            body = play(chosen, pathlib.Path(empty))
        text = json.dumps(body, ensure_ascii=False)
        (FOLDER / f"{chosen}.json").write_text(text + "\n")
