"""What stage 6 takes from the settings: secrets to look for, and whether to measure."""

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pytest

from fc_assets import sample
from fc_assets.candidate_containers import toolbox
from fc_assets.candidate_containers.stock import Candidate
from fc_resources import settings

_NOW = datetime.datetime.now(datetime.UTC)


def _settings(monkeypatch: pytest.MonkeyPatch, **values: str) -> settings.Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return settings.load()


def test_every_secret_is_looked_for_and_each_token_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = _settings(
        monkeypatch,
        GH_TOKENS="first-token, second-token",
        PORTKEY_API_KEY="a-key-of-portkey",
        DSPY_MODEL="@openai/gpt-5-mini",
    )
    found = toolbox.secrets(given)
    assert {b"first-token", b"second-token", b"a-key-of-portkey"} < set(found)
    # A password is one, whatever it has in it.
    assert b"first;second" in toolbox.secrets(
        _settings(monkeypatch, DOCKERHUB_TOKEN="first;second")
    )
    monkeypatch.delenv("DOCKERHUB_TOKEN")
    # What is as short as that would be found by chance.
    assert toolbox.secrets(_settings(monkeypatch, GH_TOKENS="", PORTKEY_API_KEY="x")) == []


def test_a_token_that_is_in_a_file_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    given = _settings(monkeypatch, HF_TOKEN_PATH=str(file))
    assert toolbox.secrets(given) == []  # there is none that could be found
    file.write_text("hf_token-of-a-file\n")
    assert b"hf_token-of-a-file" in toolbox.secrets(given)


@pytest.mark.parametrize(
    ("set_to", "is_sample", "seconds"),
    [
        (None, True, None),
        (None, False, 1800),
        ("60", True, 60),
        ("60", False, 60),
        ("0", False, None),
    ],
)
def test_the_sample_is_measured_where_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, set_to: str | None, is_sample: bool, seconds: float | None
) -> None:
    values: dict[str, Any] = {"FC_MEASURE_TIMEOUT_S": set_to} if set_to else {}
    sha = sample.load("pull_requests")[0]["pr_merge_commit_sha"]
    owner, repo = sample.REPOSITORY
    own = Candidate(owner, repo, 1, sha, "b" * 40, repo, ".", None, None, (), (), None, _NOW)
    other = dataclasses.replace(own, sha="c" * 40)
    candidates = [own] if is_sample else [own, other]
    limits = toolbox.measuring(_settings(monkeypatch, **values), candidates)
    assert (limits and limits.timeout_s) == seconds
