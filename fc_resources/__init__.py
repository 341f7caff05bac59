"""The outside world, one file per neighbour: processes, git, uv, Docker, stores, settings.

Nothing here knows what a table means or which stage asks; nothing here imports `fc_assets`.
"""
