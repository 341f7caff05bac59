"""Settings: where they come from, what is refused, and that a refusal names the variable."""

import datetime
from pathlib import Path

import pytest

from fc_resources import settings
from fc_resources.errors import UsageError
from fc_resources.ledger import Ledger


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FC_HOME", "FC_BASE_IMAGE", "FC_PYTHON_VERSIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(settings.Settings.model_config, "env_file", "tokens.env")


def test_everything_is_under_one_absolute_home(tmp_path: Path) -> None:
    found = settings.load()
    assert found.fc_home == tmp_path / ".fc"
    places = (found.warehouse, found.mirrors, found.published, found.scripts, found.uv_cache)
    assert all(place.is_relative_to(found.fc_home) for place in places)


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("tokens.env").write_text("FC_CPUS=3\nFC_PIDS=9\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("FC_CPUS", "4")
    found = settings.load()
    assert (found.fc_cpus, found.fc_pids) == (4, 9)


def test_a_variable_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FC_HOME", "FC_OFFLINE_SOURCE", "FC_REGISTRY", "FC_CPUS"):
        monkeypatch.setenv(name, "")
    found = settings.load()
    assert (found.fc_home.name, found.offline_source, found.fc_registry) == (".fc", None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FC_CPUS", "many"),
        ("FC_CPUS", "0"),
        ("FC_MEMORY", "4 GB"),
        ("FC_DISK", "20 GB"),
        ("FC_DISK", "0g"),
        ("FC_IMAGE_GB", "-1"),
        ("FC_SANDBOX", "host"),
        ("FC_MAX_FAILED_SHARE", "nan"),
        ("FC_PYTHON_VERSIONS", "3.11,2.7"),
        ("FC_PYTHON_VERSIONS", ","),
        ("FC_PYTHON_VERSIONS", "3.7"),
        ("FC_PYTHON_VERSIONS", "3.011"),
        ("FC_BASE_IMAGE", "python"),
        ("FC_BASE_IMAGE", "{python}-{arch}"),
        ("FC_LOCK_TIMEOUT_S", "-1"),
    ],
)
def test_a_wrong_value_is_a_usage_error_on_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_python_versions_are_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_PYTHON_VERSIONS", "3.9, 3.11,3.10")
    assert settings.load().python_versions == ["3.11", "3.10", "3.9"]


def test_every_python_that_is_out_is_among_them_by_itself() -> None:
    assert settings._pythons(datetime.date(2026, 9, 30))[-1] == "3.14"
    assert settings._pythons(datetime.date(2026, 10, 1))[-1] == "3.15"
    assert settings._pythons(datetime.date(2030, 12, 1))[-1] == "3.19"
    assert settings.python_released("3.12") == datetime.date(2023, 10, 2)
    assert settings.load().python_versions[-1] == "3.8"


def test_an_offline_folder_in_the_home_is_the_source(tmp_path: Path) -> None:
    assert settings.load().offline_source is None
    (tmp_path / ".fc" / "offline").mkdir(parents=True)
    assert settings.load().offline_source == tmp_path / ".fc" / "offline"


def test_a_home_that_cannot_be_written_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FC_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UsageError, match=r"FC_HOME .* cannot be written"):
        settings.load().make_home()


def test_making_a_home_leaves_nothing_in_it(tmp_path: Path) -> None:
    settings.load().make_home()
    assert list((tmp_path / ".fc").iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "x[1]", "%20#é'"])
def test_the_ledger_is_in_any_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("FC_HOME", str(tmp_path / name))
    Ledger(settings.load().ledger).check()
    assert (tmp_path / name / "ledger.sqlite").is_file()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:a-secret@host/database",
        "postgresql://user:a-secret@host:99999/database",
        "postgresql://user:with/a-secret@host/database",
        # All after the first @ would be the name of a host, which is told and asked for.
        "postgresql://user:with@a-secret@host/database",
    ],
)
def test_a_wrong_url_of_a_ledger_is_told_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FC_LEDGER", url)
    with pytest.raises(UsageError, match=r"^FC_LEDGER: is no URL such as") as caught:
        settings.load()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u:a%20b@host/x", "postgresql://u@host/x?password=a+b"]
)
def test_the_password_of_a_ledger_is_a_secret(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_LEDGER", url)
    assert "a b" in settings.load().secrets


def test_tokens_are_split_counted_once_and_never_shown() -> None:
    found = settings.Settings.model_validate({"gh_tokens": " ghp_a, ghp_b;ghp_a\n"})
    assert found.github_tokens == ["ghp_a", "ghp_b"]
    assert "ghp_a" not in repr(found)
    assert "ghp_a" not in str(found.model_dump())


def test_without_tokens_there_are_none() -> None:
    assert settings.Settings.model_validate({}).github_tokens == []


def test_a_token_no_header_could_carry_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GH_TOKENS", "ghp_schlüssel")
    with pytest.raises(UsageError, match="GH_TOKENS: has characters") as caught:
        settings.load()
    assert "schl" not in str(caught.value)


def test_an_address_with_a_password_in_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_GITHUB_URL", "https://user:secret@example.org")
    with pytest.raises(UsageError, match="FC_GITHUB_URL") as caught:
        settings.load()
    assert "secret" not in str(caught.value)


def test_what_a_build_may_use_is_part_of_what_its_outcome_depends_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = settings.load().verification
    monkeypatch.setenv("FC_DISK", "10g")
    assert settings.load().verification != before


def test_the_hub_gets_no_records_without_a_place_for_their_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FC_DATASET", "o/data")
    with pytest.raises(UsageError, match="FC_DATASET: is set; FC_REGISTRY has to say"):
        settings.load()
    monkeypatch.setenv("FC_REGISTRY", "ghcr.io/o")
    assert settings.load().fc_dataset == "o/data"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FC_REGISTRY", "https://ghcr.io/o"),
        ("FC_REGISTRY", "ghcr.io/O"),
        ("FC_REGISTRY", "user:secret@ghcr.io/o"),
        ("FC_LICENSES", "MIT, numpy=BSD-3-Clause"),
        ("HF_ENDPOINT", "https://user:secret@example.org"),
        ("HF_TOKEN", "hf_schl\u00fcssel"),
    ],
)
def test_what_cannot_be_published_to_is_refused(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(UsageError, match=name) as caught:
        settings.load()
    assert "secret" not in str(caught.value)


def test_the_hubs_token_is_given_or_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert settings.load().hub_token is None
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(UsageError, match="HF_TOKEN_PATH cannot be read"):
        _ = settings.load().hub_token
    (tmp_path / "token").write_text("hf_from_a_file\n")
    assert settings.load().hub_token == "hf_from_a_file"
    monkeypatch.setenv("HF_TOKEN", "hf_given")
    found = settings.load()
    assert found.hub_token == "hf_given"
    assert "hf_given" not in repr(found)
