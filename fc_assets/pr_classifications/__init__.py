"""Stage 3: which pull requests improve performance, and how."""
