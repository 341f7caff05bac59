"""A command run in this process, for those that need no other."""

import pytest

from fc_assets import cli


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code and what was written."""
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err
