"""Coding agents: command line tools that correct build scripts in a jail.

What they are told and what becomes of their scripts is the pipeline's; see `agent` for the
interface, `choice` for which one is used.
"""
