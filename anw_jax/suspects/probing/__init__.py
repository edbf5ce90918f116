"""The probe: is a model asked correctly? It runs before any evidence is gathered."""
