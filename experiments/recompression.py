"""Ours: what a site's JPEG, half size, WebP or Display P3 leaves of the evidence.

Command:   python run.py --config=experiments/recompression.py
           ... --config.seed=1 to 5 for the others; then results.json of each seed goes to
           results/recompression/seed<k>.json, and `python -m benchmarks.recompression` writes
           the table of docs/owner.md
Takes:     about 5 minutes of one core for each seed, and 8 more for the first one's base and
           reference
Expect:    JPEG of quality 75 and half size keep at least half of the evidence: the ratio of the
           medians of log10 p over the seeds. Fixed before the first run.

72 of the 204 flowers (at least 499 pixels a side; docs/data.md) are marked at full size, in six
groups of 12; each group is changed in another way, and a small diffusion model, trained on the
other 132 flowers, is fine-tuned on all 72 at 64 pixels. p is calibrated by the same model,
trained on with the other 132 for as many steps. These settings were chosen on seed 100: log10 p
of 72 unchanged photos was -10.2, and -6.1 if calibrated by the model before the fine-tuning.
A classifier trained on all 204 at this size showed nothing. How much evidence there is, is not
the question of this run. Six seeds show every group under every change once.
"""

import ml_collections

from anw_jax.lab import config

_QUICK = {"num_epochs": 300, "learning_rate": 2e-3, "batch_size": 24}


def get_config() -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.RecompressionSettings` says what each means."""
    return config.with_defaults(
        {
            "name": "recompression",
            "seed": 0,
            "folder": "$FLOWERS17",
            "base": _QUICK,
            "tuning": _QUICK,
            "widths": (16, 32, 64),
            "patch": 2,
        }
    )
