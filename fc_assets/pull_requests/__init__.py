"""Stage 2: which pull requests were merged in a month, with their diffs and the pre-filter."""
