"""The asset graph and what each table means; no socket and no subprocess is opened here.

Neighbours of the outside world live in `fc_resources`, what starts work by itself in `fc_sensors`.
"""
