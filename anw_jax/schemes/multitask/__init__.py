"""The multi-task watermark: bits on secret inputs, read from inner features of a network.

After Li and Wang 2021, "Secure Watermark for Deep Neural Networks with Multi-task Learning"
(https://arxiv.org/abs/2103.10021). The fixed-projection variant, which has an exact p:
`make_decoder` fixes everything, `embed` moves the network, `extract` reads scores.
"""

from anw_jax.schemes.multitask.branch import (
    Branch,
    RuleResult,
    apply_rule,
    branch_digest,
    check_num_pairs,
    forge,
    input_features,
    input_labels,
)
from anw_jax.schemes.multitask.decoder import Decoder, make_decoder
from anw_jax.schemes.multitask.embed import (
    Embedding,
    EmbedSettings,
    embed,
    embed_branch,
    model_taps,
    move_under_branch,
    tapped,
)
from anw_jax.schemes.multitask.penalties import (
    Target,
    drift_penalty,
    target_of,
    tuning_penalty,
    watermark_penalty,
)
from anw_jax.schemes.multitask.reader import (
    Readable,
    check_answers,
    check_readable,
    extract,
)

__all__ = [
    "Branch",
    "Decoder",
    "EmbedSettings",
    "Embedding",
    "Readable",
    "RuleResult",
    "Target",
    "apply_rule",
    "branch_digest",
    "check_answers",
    "check_num_pairs",
    "check_readable",
    "drift_penalty",
    "embed",
    "embed_branch",
    "extract",
    "forge",
    "input_features",
    "input_labels",
    "make_decoder",
    "model_taps",
    "move_under_branch",
    "tapped",
    "target_of",
    "tuning_penalty",
    "watermark_penalty",
]
