"""Stage 4: the environment a merge commit would have had."""
