"""One repository of a lakeFS server: control over REST, each call with time-outs and tries."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from headwater.lake._interface import Commit
from headwater.lake.errors import LakeError
from headwater.lake.lakefs._api import PAGE, Api, body, or_none
from headwater.lake.lakefs._calls import ServerAnswerError
from headwater.names import TRANSACTION_KEY

__all__ = ["DEST_WINS", "FIRST_PAGE", "PAGE", "Listed", "Server", "paths_value"]

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


class Server(Api):
    """Control of one repository."""

    # Refs

    def branch_head(self, branch: str) -> str | None:
        """The commit id a branch names, None when there is no such branch."""
        found = or_none(lambda: self.ask(f"read branch {branch}", self.client.branches_api.get_branch, branch))
        return found.commit_id if found is not None else None

    def branches(self) -> dict[str, str]:
        """Every branch and its commit id, hidden ones too."""
        return self._refs("list branches", self.client.branches_api.list_branches, show_hidden=True)

    def tags(self) -> dict[str, str]:
        """Every tag and its commit id."""
        return self._refs("list tags", self.client.tags_api.list_tags)

    def _refs(self, action: str, method: Callable[..., Any], **more: Any) -> dict[str, str]:
        return {item.id: item.commit_id for item in self.pages(action, method, **more)}

    def create_branch(self, name: str, *, source: str, hidden: bool = False) -> bool:
        """Makes a branch; False when one of that name stands already (perhaps made by a try whose answer was lost)."""
        import lakefs_sdk

        wanted = lakefs_sdk.BranchCreation(name=name, source=source, hidden=hidden)
        try:
            self.ask(f"create branch {name}", self.client.branches_api.create_branch, wanted)
        except ServerAnswerError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    def delete_branch(self, name: str) -> None:
        """Removes a branch; it may be gone already."""
        or_none(lambda: self.ask(f"delete branch {name}", self.client.branches_api.delete_branch, name) or True)

    def drop_working(self, name: str) -> None:
        """Removes a working branch if the server answers; `gc` sweeps those that stay."""
        api = self.client.branches_api
        with suppress(LakeError):
            self.call(
                "drop a working branch",
                lambda: api.delete_branch(self.name, name, _request_timeout=self.timeout) or True,
                tries=1,
            )

    def create_tag(self, name: str, *, ref: str) -> bool:
        """Makes a tag; False when one of that name stands already."""
        import lakefs_sdk

        try:
            self.ask(f"create tag {name}", self.client.tags_api.create_tag, lakefs_sdk.TagCreation(id=name, ref=ref))
        except ServerAnswerError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    # History

    def commit_at(self, ref: str) -> Commit | None:
        """The commit that a ref expression names, None when there is none."""
        found = or_none(
            lambda: self.ask(f"resolve {ref}", self.client.commits_api.get_commit, ref),
            HTTPStatus.NOT_FOUND,
            HTTPStatus.BAD_REQUEST,
        )
        return _commit(found) if found is not None else None

    def log(self, ref: str, *, first_parent: bool) -> Iterator[Commit]:
        """History, newest first, read page by page."""
        action = f"read the log of {ref[:12]}"
        yield from map(_commit, self.pages(action, self.client.refs_api.log_commits, ref, first_parent=first_parent))

    def log_page(self, ref: str, *, first_parent: bool, amount: int) -> list[Commit]:
        """The newest commits of a history, at most `amount`."""
        action = f"read the log of {ref[:12]}"
        page = self.ask(action, self.client.refs_api.log_commits, ref, first_parent=first_parent, amount=amount)
        return list(map(_commit, page.results))

    def commit(self, branch: str, *, message: str, metadata: Mapping[str, str]) -> Commit:
        """Commits what is staged on a branch of our own; a commit whose answer was lost is found by its transaction."""
        import lakefs_sdk

        wanted = body(lakefs_sdk.CommitCreation, message=message, metadata=dict(metadata))

        def made() -> Any:
            head = self.ask(f"read branch {branch}", self.client.commits_api.get_commit, branch)
            ours = metadata.get(TRANSACTION_KEY)
            return head if (head.metadata or {}).get(TRANSACTION_KEY) == ours and head.message == message else None

        try:
            return _commit(self.ask("commit", self.client.commits_api.commit, branch, wanted, recover=made))
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

        wanted = body(
            lakefs_sdk.Merge, message=message, metadata=dict(metadata), strategy=strategy, squash_merge=squash
        )
        api = self.client.refs_api
        found = self.call(
            f"merge into {into}",
            lambda: api.merge_into_branch(self.name, source, into, merge=wanted, _request_timeout=self.timeout),
            tries=1,
        )
        return found.reference

    def merge_base(self, left: str, right: str) -> str:
        """The commit id at which two histories parted."""
        return self.ask("find a merge base", self.client.refs_api.find_merge_base, right, left).base_commit_id

    def reset(self, branch: str, prefix: str) -> None:
        """Drops what is staged below a prefix."""
        import lakefs_sdk

        wanted = lakefs_sdk.ResetCreation(type="common_prefix", path=prefix)
        self.ask("reset a path", self.client.branches_api.reset_branch, branch, wanted)

    # Objects, by metadata

    def list(self, ref: str, prefix: str) -> Iterator[Listed]:
        """Every object below a prefix, sorted by key."""
        for item in self.pages("list objects", self.client.objects_api.list_objects, ref, prefix=prefix):
            yield Listed(
                path=item.path, checksum=item.checksum, size=item.size_bytes or 0, address=item.physical_address
            )

    def staged(self, branch: str) -> Iterator[tuple[str, int]]:
        """Keys staged on a branch, with their sizes."""
        for item in self.pages("list staged objects", self.client.branches_api.diff_branch, branch):
            yield item.path, item.size_bytes or 0

    def copy(self, branch: str, path: str, *, source: str) -> None:
        """Copies an object from another ref to the same key of a branch."""
        import lakefs_sdk

        wanted = body(lakefs_sdk.ObjectCopyCreation, src_path=path, src_ref=source)
        self.ask("copy an object", self.client.objects_api.copy_object, branch, path, wanted)


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
