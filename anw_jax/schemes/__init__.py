"""Watermarks in models: whose model is it, was it copied, who leaked it.

`scheme` has what all share: the order of steps, key generation, the verdict. Each system is a
package: `multitask` (after Li and Wang 2021) answers whose model it is, `barrier` (after Zhang
et al. 2021) whether a model was trained on another's outputs, `fingerprint` who leaked his
copy. `log` and `protocol` are for owners and nodes that decide without an authority.
"""

from anw_jax.schemes import barrier, fingerprint, log, multitask, protocol
from anw_jax.schemes.scheme import (
    Decoder,
    ModelVerdict,
    TapsFn,
    check_decoder,
    judge,
    keygen,
    plan_of,
)
from anw_jax.schemes.weights import (
    check_released,
    load_network,
    save_network,
    settings_digest,
    weights_digest,
)

__all__ = [
    "Decoder",
    "ModelVerdict",
    "TapsFn",
    "barrier",
    "check_decoder",
    "check_released",
    "fingerprint",
    "judge",
    "keygen",
    "load_network",
    "log",
    "multitask",
    "plan_of",
    "protocol",
    "save_network",
    "settings_digest",
    "weights_digest",
]
