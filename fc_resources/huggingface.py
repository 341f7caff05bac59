"""The Hugging Face Hub as a place for a dataset; xet or LFS, and how to resume, is its client's.

Which files there are and what they say is decided by `fc_assets.formulacode`.
"""

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fc_resources.dataset import NoVersionError, Refs, StaleError, full
from fc_resources.errors import (
    FcError,
    PermanentError,
    StopError,
    TransientError,
    UnavailableError,
    UsageError,
    one_line,
    retry_at,
)

if TYPE_CHECKING:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

_KIND = "dataset"
_CONFLICTS = (409, 412)


class Hub:
    """A dataset repository, `owner/name`; nothing is asked before the first use.

    Without a token the client takes that of its own login, if there is one. What is downloaded is
    kept in `cache`.
    """

    def __init__(
        self, repository: str, cache: Path, token: str | None = None, endpoint: str | None = None
    ) -> None:
        self._repository = repository
        self._cache = cache
        self._token = token
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        return self._repository

    @property
    def address(self) -> str:
        return self._repository

    @functools.cached_property
    def _api(self) -> "huggingface_hub.HfApi":
        # It takes a second to import, and most commands do without.
        import huggingface_hub
        import huggingface_hub.utils
        from huggingface_hub.errors import HFValidationError

        try:
            huggingface_hub.utils.validate_repo_id(self._repository)
        except HFValidationError as error:
            raise UsageError(f"FC_DATASET: {one_line(error)}") from None
        huggingface_hub.utils.disable_progress_bars()
        return huggingface_hub.HfApi(
            self._endpoint, token=self._token, library_name="formulacode-data"
        )

    def refs(self) -> Refs:
        """Without any version where the repository is not there, or hidden from this token."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._translated("looking for versions"):
            try:
                found = self._api.list_repo_refs(self._repository, repo_type=_KIND)
            except RepositoryNotFoundError:
                return Refs(None, {})
        heads = [branch.target_commit for branch in found.branches if branch.name == "main"]
        tags = {tag.name: tag.target_commit for tag in found.tags}
        return Refs(heads[0] if heads else None, tags)

    def read(self, path: str, revision: str) -> bytes | None:
        from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

        with self._translated(f"reading {path} of {revision}"):
            try:
                local = self._api.hf_hub_download(
                    self._repository,
                    path,
                    repo_type=_KIND,
                    revision=revision,
                    cache_dir=self._cache,
                )
            except RemoteEntryNotFoundError:
                return None
            except LocalEntryNotFoundError as error:  # neither the Hub nor the cache told
                raise error.__cause__ or error from None
            return Path(local).read_bytes()

    def ancestors(self, revision: str) -> Iterator[str]:
        with self._translated("looking at its history"):
            found = self._api.list_repo_commits(
                self._repository, repo_type=_KIND, revision=revision
            )
        yield from (commit.commit_id for commit in found[1:])

    def commit(self, files: Mapping[str, bytes | None], parent: str | None, message: str) -> None:
        import huggingface_hub

        with self._translated("publishing"):
            parent = parent or self._create()
            self._api.create_commit(
                self._repository,
                [
                    huggingface_hub.CommitOperationDelete(path)
                    if content is None
                    else huggingface_hub.CommitOperationAdd(path, content)
                    for path, content in files.items()
                ],
                commit_message=message,
                repo_type=_KIND,
                parent_commit=parent,
            )

    def _create(self) -> str | None:
        """Make the repository; its first revision, which has no files of ours."""
        try:
            with self._translated("creating it"):
                self._api.create_repo(self._repository, repo_type=_KIND)
        except StaleError:  # it is there; if it can be seen, its versions have to be looked at
            if self.refs().head is None:
                raise StopError(
                    f"{self._repository} on the Hub is hidden from this token; set HF_TOKEN to one "
                    "that may read and write it"
                ) from None
            raise
        return self.refs().head

    def tag(self, name: str, revision: str) -> None:
        try:
            with self._translated(f"tagging {name}"):
                self._api.create_tag(self._repository, tag=name, revision=revision, repo_type=_KIND)
        except StaleError:
            if self.refs().tags.get(name) != revision:
                raise PermanentError(
                    f"{self._repository} has {name} already, for another version"
                ) from None

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        what = f"{self._repository} on the Hub, {what}"
        try:
            yield
        except FcError:
            raise
        # A card that is refused is a ValueError, an upload that failed a RuntimeError.
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
            causes = error, error.__cause__
            if refused := next((e for e in causes if isinstance(e, HfHubHTTPError)), None):
                raise self._meaning(refused, what) from error
            if any(map(full, causes)):
                text = f"{what}: {self._cache} has no space left; make some"
                raise TransientError(text) from error
            raise UnavailableError(f"{what}: {one_line(causes[1] or error)}") from error

    def _meaning(self, error: "HfHubHTTPError", what: str) -> FcError:
        from huggingface_hub.errors import RevisionNotFoundError

        status, headers = error.response.status_code, error.response.headers
        text = re.sub(r"\s*\(Request ID: [^)]*\)", "", one_line(error))
        if isinstance(error, RevisionNotFoundError):
            return NoVersionError(f"{what}: it does not show that version; run it again")
        if status in _CONFLICTS:
            return StaleError(f"{what}: {text}")
        if status in (401, 403):
            return StopError(
                f"{what}: it refuses this token ({status}); set HF_TOKEN to one that may write"
            )
        if status in (408, 429) or status >= 500:
            return TransientError(f"{what}: {text}", until=retry_at(headers.get("Retry-After")))
        return PermanentError(f"{what}: {text}")
