"""One repository of a lakeFS server: control over REST, each call with time-outs and tries."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final

from headwater.lake._interface import Commit
from headwater.lake.errors import LakeError, StorageError
from headwater.lake.lakefs._calls import Caller, ServerAnswerError
from headwater.lake.lakefs._settings import API_PATH, LakeFSSettings
from headwater.names import MAIN, TRANSACTION_KEY

PAGE: Final = 1000
FIRST_PAGE: Final = 100
_OWN_KEYS: Final = ".lakefs"
DEST_WINS: Final = "dest-wins"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One object in a listing.

    Attributes:
        path: Key below the ref.
        checksum: What lakeFS keeps as its etag.
        size: Bytes.
        address: Where lakeFS stores it.
    """

    path: str
    checksum: str
    size: int
    address: str


class Server:
    """Control of one repository.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: LakeFSSettings) -> None:
        """Connects nowhere yet."""
        self.settings = settings
        self.call = Caller(location=settings.location, tries=settings.tries, backoff=settings.backoff)
        self._timeout = (settings.connect_timeout, settings.read_timeout)

    @cached_property
    def _api(self) -> Any:
        import lakefs_sdk
        from lakefs_sdk.client import LakeFSClient

        configuration: Any = lakefs_sdk.Configuration(
            host=self.settings.url + API_PATH, username=self.settings.access_key, password=self.settings.secret_key
        )
        configuration.retries = False
        return LakeFSClient(configuration)

    @property
    def _name(self) -> str:
        return self.settings.repository

    def _ask(
        self, action: str, method: Callable[..., Any], *args: Any, recover: Callable[[], Any] | None = None, **more: Any
    ) -> Any:
        return self.call(
            action, lambda: method(self._name, *args, _request_timeout=self._timeout, **more), recover=recover
        )

    # Repository

    def version(self) -> str:
        """The server's version."""
        api = self._api.config_api
        found = self.call("tell its version", lambda: api.get_config(_request_timeout=self._timeout))
        return (found.version_config.version if found.version_config else None) or "unknown"

    def has_repository(self) -> bool:
        """Whether the repository exists."""
        return _or_none(lambda: self._ask("be read", self._api.repositories_api.get_repository)) is not None

    def create_repository(self) -> None:
        """Makes the repository with a protected `main`; another process may have made it meanwhile."""
        import lakefs_sdk

        namespace = self.settings.storage_namespace or self._default_namespace()
        wanted = _body(lakefs_sdk.RepositoryCreation, name=self._name, storage_namespace=namespace, default_branch=MAIN)
        api = self._api.repositories_api
        try:
            self.call("create its repository", lambda: api.create_repository(wanted, _request_timeout=self._timeout))
        except ServerAnswerError as error:
            if not self.has_repository():
                raise StorageError(
                    location=self.settings.location,
                    action="created",
                    reason=error.message,
                    remedy="Create the repository in lakeFS, or set a storage namespace the server accepts.",
                ) from error

    def _default_namespace(self) -> str:
        api = self._api.config_api
        config = self.call("tell its storage", lambda: api.get_config(_request_timeout=self._timeout)).storage_config
        prefix = config.default_namespace_prefix if config else None
        if prefix:
            return f"{prefix.rstrip('/')}/{self._name}"
        kind = config.blockstore_type if config else "local"
        return f"{kind}://{self._name}"

    def protected(self) -> tuple[str, ...]:
        """Patterns of protected branches."""
        rules = self._ask("tell its branch protection", self._api.repositories_api.get_branch_protection_rules)
        return tuple(rule.pattern for rule in rules)

    def set_protected(self, patterns: Sequence[str]) -> None:
        """Replaces the patterns of protected branches."""
        import lakefs_sdk

        rules = [lakefs_sdk.BranchProtectionRule(pattern=pattern) for pattern in patterns]
        self._ask("protect a branch", self._api.repositories_api.set_branch_protection_rules, rules)

    # Refs

    def branch_head(self, branch: str) -> str | None:
        """The commit id a branch names, None when there is no such branch."""
        found = _or_none(lambda: self._ask(f"read branch {branch}", self._api.branches_api.get_branch, branch))
        return found.commit_id if found is not None else None

    def branches(self) -> dict[str, str]:
        """Every branch and its commit id, hidden ones too."""
        return self._refs("list branches", self._api.branches_api.list_branches, show_hidden=True)

    def tags(self) -> dict[str, str]:
        """Every tag and its commit id."""
        return self._refs("list tags", self._api.tags_api.list_tags)

    def _refs(self, action: str, method: Callable[..., Any], **more: Any) -> dict[str, str]:
        return {item.id: item.commit_id for item in self._pages(action, method, **more)}

    def _pages(self, action: str, method: Callable[..., Any], *args: Any, **more: Any) -> Iterator[Any]:
        after = ""
        while True:
            page = self._ask(action, method, *args, after=after, amount=PAGE, **more)
            yield from page.results
            if not page.pagination.has_more:
                return
            after = page.pagination.next_offset

    def create_branch(self, name: str, *, source: str, hidden: bool = False) -> bool:
        """Makes a branch; False when one of that name stands already (perhaps made by a try whose answer was lost)."""
        import lakefs_sdk

        wanted = lakefs_sdk.BranchCreation(name=name, source=source, hidden=hidden)
        try:
            self._ask(f"create branch {name}", self._api.branches_api.create_branch, wanted)
        except ServerAnswerError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    def delete_branch(self, name: str) -> None:
        """Removes a branch; it may be gone already."""
        _or_none(lambda: self._ask(f"delete branch {name}", self._api.branches_api.delete_branch, name) or True)

    def drop_working(self, name: str) -> None:
        """Removes a working branch if the server answers; `gc` sweeps those that stay."""
        api = self._api.branches_api
        with suppress(LakeError):
            self.call(
                "drop a working branch",
                lambda: api.delete_branch(self._name, name, _request_timeout=self._timeout) or True,
                tries=1,
            )

    def create_tag(self, name: str, *, ref: str) -> bool:
        """Makes a tag; False when one of that name stands already."""
        import lakefs_sdk

        try:
            self._ask(f"create tag {name}", self._api.tags_api.create_tag, lakefs_sdk.TagCreation(id=name, ref=ref))
        except ServerAnswerError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    # History

    def commit_at(self, ref: str) -> Commit | None:
        """The commit that a ref expression names, None when there is none."""
        found = _or_none(
            lambda: self._ask(f"resolve {ref}", self._api.commits_api.get_commit, ref),
            HTTPStatus.NOT_FOUND,
            HTTPStatus.BAD_REQUEST,
        )
        return _commit(found) if found is not None else None

    def log(self, ref: str, *, first_parent: bool) -> Iterator[Commit]:
        """History, newest first, read page by page."""
        action = f"read the log of {ref[:12]}"
        yield from map(_commit, self._pages(action, self._api.refs_api.log_commits, ref, first_parent=first_parent))

    def log_page(self, ref: str, *, first_parent: bool, amount: int) -> list[Commit]:
        """The newest commits of a history, at most `amount`."""
        action = f"read the log of {ref[:12]}"
        page = self._ask(action, self._api.refs_api.log_commits, ref, first_parent=first_parent, amount=amount)
        return list(map(_commit, page.results))

    def commit(self, branch: str, *, message: str, metadata: Mapping[str, str]) -> Commit:
        """Commits what is staged on a branch of our own; a commit whose answer was lost is found by its transaction."""
        import lakefs_sdk

        wanted = _body(lakefs_sdk.CommitCreation, message=message, metadata=dict(metadata))

        def made() -> Any:
            head = self._ask(f"read branch {branch}", self._api.commits_api.get_commit, branch)
            ours = metadata.get(TRANSACTION_KEY)
            return head if (head.metadata or {}).get(TRANSACTION_KEY) == ours and head.message == message else None

        try:
            return _commit(self._ask("commit", self._api.commits_api.commit, branch, wanted, recover=made))
        except ServerAnswerError as error:
            found = made() if error.status == HTTPStatus.BAD_REQUEST else None
            if found is None:
                raise
            return _commit(found)

    def merge(
        self,
        source: str,
        into: str,
        *,
        message: str,
        metadata: Mapping[str, str],
        squash: bool = False,
        strategy: str | None = None,
    ) -> str:
        """Merges a commit into a branch, in one try: who asks must find out what became of a lost answer.

        Args:
            source: Commit id.
            into: Branch.
            message: One line.
            metadata: Strings to strings.
            squash: Whether the merge commit has the branch's head as its only parent.
            strategy: None, or `dest-wins`.

        Returns:
            Id of the merge commit.
        """
        import lakefs_sdk

        wanted = _body(
            lakefs_sdk.Merge, message=message, metadata=dict(metadata), strategy=strategy, squash_merge=squash
        )
        api = self._api.refs_api
        found = self.call(
            f"merge into {into}",
            lambda: api.merge_into_branch(self._name, source, into, merge=wanted, _request_timeout=self._timeout),
            tries=1,
        )
        return found.reference

    def merge_base(self, left: str, right: str) -> str:
        """The commit id at which two histories parted."""
        return self._ask("find a merge base", self._api.refs_api.find_merge_base, right, left).base_commit_id

    def reset(self, branch: str, prefix: str) -> None:
        """Drops what is staged below a prefix."""
        import lakefs_sdk

        wanted = lakefs_sdk.ResetCreation(type="common_prefix", path=prefix)
        self._ask("reset a path", self._api.branches_api.reset_branch, branch, wanted)

    # Objects, by metadata

    def list(self, ref: str, prefix: str) -> Iterator[Listed]:
        """Every object below a prefix, sorted by key."""
        for item in self._pages("list objects", self._api.objects_api.list_objects, ref, prefix=prefix):
            yield Listed(
                path=item.path, checksum=item.checksum, size=item.size_bytes or 0, address=item.physical_address
            )

    def staged(self, branch: str) -> Iterator[tuple[str, int]]:
        """Keys staged on a branch, with their sizes."""
        for item in self._pages("list staged objects", self._api.branches_api.diff_branch, branch):
            yield item.path, item.size_bytes or 0

    def copy(self, branch: str, path: str, *, source: str) -> None:
        """Copies an object from another ref to the same key of a branch."""
        import lakefs_sdk

        wanted = _body(lakefs_sdk.ObjectCopyCreation, src_path=path, src_ref=source)
        self._ask("copy an object", self._api.objects_api.copy_object, branch, path, wanted)


def _body(model: Any, **values: Any) -> Any:
    """A request's body; the generated models have defaults that type checkers don't see."""
    return model(**values)


def _or_none(ask: Callable[[], Any], *absent: HTTPStatus) -> Any:
    try:
        return ask()
    except ServerAnswerError as error:
        if error.status in (absent or (HTTPStatus.NOT_FOUND,)):
            return None
        raise


def _commit(raw: Any) -> Commit:
    metadata = {name: value for name, value in (raw.metadata or {}).items() if not name.startswith(_OWN_KEYS)}
    return Commit(
        id=raw.id,
        parents=tuple(raw.parents),
        message=raw.message,
        created=datetime.fromtimestamp(raw.creation_date, UTC),
        metadata=metadata,
    )


def paths_value(paths: Sequence[str]) -> str:
    """Commit metadata that names the paths a commit changed."""
    return json.dumps(sorted(paths), separators=(",", ":"))
