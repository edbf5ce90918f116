"""What a probe reports."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
      name: a word for programs.
      severity: "error" (the table would be useless) or "warning".
      seen: what was seen.
      do: what to do about it.
    """

    name: str
    severity: str
    seen: str
    do: str
