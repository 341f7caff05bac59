"""Stage 7: records of the dataset and where they are published."""
