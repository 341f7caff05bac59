"""Where ASV's configuration says that the benchmarks are."""

import pytest

from fc_assets.packages import asv_config


@pytest.mark.parametrize(
    ("path", "text", "folder"),
    [
        ("asv.conf.json", "{}", "benchmarks"),
        ("ci/asv.conf.json", "{}", "ci/benchmarks"),
        ("ci/asv.conf.json", '{"benchmark_dir": "../asv_bench/"}', "asv_bench"),
        ("asv.conf.json", '{"benchmark_dir": "."}', "."),
        ("ci/asv.conf.json", '{"benchmark_dir": "../../other"}', "../other"),
        ("ci/asv.conf.json", '{"benchmark_dir": "/opt/b"}', "/opt/b"),
        ("asv.conf.json", '{"benchmark_dir": 1}', "1"),
        (None, None, "benchmarks"),
    ],
)
def test_the_folder_of_benchmarks_is_seen_from_the_root(
    path: str | None, text: str | None, folder: str
) -> None:
    assert asv_config.parse(path, text).benchmark_dir == folder
