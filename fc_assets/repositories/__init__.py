"""Stage 1: which repositories are tracked in a month."""
