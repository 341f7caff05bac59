"""Code of a fix is found in other texts, and diffs are known by what they look like."""

import pytest

from fc_assets.candidate_prs import fixes

_ADDED = [
    "    order = np.argsort(self.values)",
    '    return order.take(pos, mode="clip")',
    "    return None",
    "    else:",
    "    for i in range(len(x)):",
    "import numpy as np",
    "    total = kept.values(other)",
]
_WANTED = fixes.runs(_ADDED, [" total = kept.values(other)", "+++ b/r/index.py"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("order  =  np.argsort( self.values )", True),
        ("Index.lookup = lambda self, k: np.argsort(self.values).take(k)", True),
        (">>> return order.take(pos, mode='clip')", True),
        ("Just `np.argsort(self.values)` here.", True),
        ("return None\nelse:\nfor i in range(len(x)):\nimport numpy as np", False),
        ("total = kept.values(other)", False),
        ("np.argsort(values)", False),
        ("", False),
    ],
)
def test_code_of_the_fix_is_found(text: str, *, found: bool) -> None:
    assert bool(list(fixes.shared(text, _WANTED))) == found


@pytest.mark.parametrize(
    ("block", "is_diff"),
    [
        ("```diff\nx\n```", True),
        ("```suggestion\nx\n```", True),
        ("```\n@@ -1,3 +1,3 @@\n x\n```", True),
        ("```python\n+++ b/r/index.py\n```", True),
        ("```\n-    out = []\n+    order = sort(x)\n```", True),
        ("    -out = []\n    +order = sort(x)\n", True),
        ("```\n-  3.2 s  15 ms  0.005  bench.time\n+  3 s  4 s  1.3  bench.other\n```", False),
        ("```\n+-----+\n| a   |\n+-----+\n- b\n```", False),
        ("```\ny = [\n  - x,\n]\n```", False),
    ],
)
def test_a_diff_is_one_whatever_it_is_called(block: str, *, is_diff: bool) -> None:
    assert fixes.is_diff(block) == is_diff
