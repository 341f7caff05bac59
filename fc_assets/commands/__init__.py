"""Sub-commands of `fc-data` that look at a home or change what it published, a file each.

`cli` names them; they import what they need when they are called.
"""
