"""Stage 6: containers in which the benchmarks of a base commit were seen to run."""
