"""Stage 4: the environment a merge commit would have had."""

#: Part of what a stored environment rests on: changes when resolving does.
RESOLVER = "pins/3"
