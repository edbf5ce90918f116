"""A model behind an HTTP endpoint: what is sent, what comes back, and how fast."""
