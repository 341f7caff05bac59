"""Stage 5: the problem a pull request solves, told without its solution."""
