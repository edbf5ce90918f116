"""Seals a case whose suspect takes its time; to be killed."""

import sys

from anw_jax import audit

if __name__ == "__main__":
    audit.seal_case(audit.Case(sys.argv[1]))
