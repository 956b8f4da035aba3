"""Looking after a lakeFS lake: plain copies, verification, collection."""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from headwater.lake._destination import fill_destination
from headwater.lake._digest import merkle, select_identity
from headwater.lake._interface import Collected, Commit, Finding, Kind, Verification
from headwater.lake._tables import read_table
from headwater.lake.errors import LakeError, LakeUnavailableError, PathNotFoundError
from headwater.lake.lakefs._calls import ServerAnswerError
from headwater.lake.lakefs._manifest import ROOT, Manifest, key_of
from headwater.lake.lakefs._server import Listed
from headwater.lake.lakefs._snapshot import LakeFSSnapshot, Parts
from headwater.lake.lakefs._working import age_of

_MD5: Final = re.compile(r"^[0-9a-f]{32}$")


def checkout(parts: Parts, snapshot: LakeFSSnapshot, destination: Path, *, paths: Sequence[str] | None) -> Commit:
    """Copies the lake at a commit, or some of its paths, to an empty or absent directory.

    Raises:
        StorageError: The directory is not empty, something is removed from it meanwhile, or the disk refuses.
        PathNotFoundError: Nothing stands at one of the paths.
    """
    chosen = snapshot.paths() if paths is None else tuple(dict.fromkeys(paths))
    for path in chosen:
        if not snapshot.has(path):
            raise PathNotFoundError(path=path, ref=snapshot.commit.id, known=snapshot.paths())

    def write(folder: Path) -> Iterator[str]:
        for path in chosen:
            (folder / path).mkdir(parents=True, exist_ok=True)
            for item in parts.server.list(snapshot.commit.id, f"{path}/"):
                parts.objects.download(snapshot.commit.id, item.path, folder / item.path)
                yield item.path

    fill_destination(destination, write)
    return snapshot.commit


class Verifier:
    """One verification of one lake: every object that a ref holds is read again.

    Args:
        parts: The lake.
    """

    def __init__(self, parts: Parts) -> None:
        """Starts with nothing found."""
        self._parts = parts
        self._findings: list[Finding] = []
        self._seen: dict[str, str | None] = {}
        self._judged: set[tuple[str, str]] = set()
        self._commits: set[str] = set()
        self._bytes = 0

    def run(self) -> Verification:
        """Checks the head of every branch and tag, newest content first, each object once."""
        refs = {**self._parts.server.branches(), **self._parts.server.tags()}
        for name, id in sorted(refs.items()):
            if age_of(name) is None:
                self._check_log(name, id)
        for id in sorted(set(refs.values())):
            self._check_tree(id)
        return Verification(
            commits=len(self._commits), objects=len(self._seen), bytes=self._bytes, findings=tuple(self._findings)
        )

    def _found(self, what: str, name: str, problem: str) -> None:
        self._findings.append(Finding(what=what, name=name, problem=problem))

    def _check_log(self, name: str, id: str) -> None:
        try:
            self._commits.update(commit.id for commit in self._parts.server.log(id, first_parent=False))
        except ServerAnswerError as error:
            self._found("ref", name, f"its log cannot be read: {error.message}")

    def _check_tree(self, commit: str) -> None:
        listed = list(self._parts.server.list(commit, ""))
        for item in listed:
            if item.address not in self._seen:
                self._seen[item.address] = self._check_object(commit, item)
        digests = {item.path: self._seen[item.address] for item in listed}
        for path, checksum in self._parts.history.tree(commit).items():
            if (path, checksum) not in self._judged:
                self._judged.add((path, checksum))
                self._check_asset(commit, path, digests)
        self._check_strays(commit, digests)

    def _check_object(self, commit: str, item: Listed) -> str | None:
        """Reads an object again; its sha256, None when it cannot be read."""
        md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        with tempfile.TemporaryDirectory(prefix="headwater-verify-") as folder:
            file = Path(folder) / "object"
            try:
                self._parts.objects.download(commit, item.path, file)
            except ServerAnswerError as error:
                self._found("object", item.path, f"at {commit[:12]} it cannot be read: {error.status} {error.message}")
                return None
            with file.open("rb") as reader:
                while block := reader.read(1 << 20):
                    md5.update(block)
                    sha256.update(block)
                    size += len(block)
        self._bytes += size
        if size != item.size:
            self._found("object", item.path, f"at {commit[:12]} it has {size} bytes instead of {item.size}.")
        elif _MD5.fullmatch(item.checksum) and md5.hexdigest() != item.checksum:
            self._found("object", item.path, f"at {commit[:12]} its content has another checksum than lakeFS keeps.")
        return sha256.hexdigest()

    def _check_asset(self, commit: str, path: str, digests: dict[str, str | None]) -> None:
        try:
            manifest = self._parts.history.manifest(commit, path)
        except (ValueError, KeyError, TypeError, LakeError) as error:
            self._found("tree", path, f"at {commit[:12]} its manifest cannot be read: {error}")
            return
        if manifest is None:
            self._found("tree", path, f"at {commit[:12]} its manifest is missing.")
        elif manifest.kind is Kind.FOLDER:
            self._check_folder(commit, path, manifest, digests)
        else:
            self._check_table(commit, path, manifest)

    def _check_folder(self, commit: str, path: str, manifest: Manifest, digests: dict[str, str | None]) -> None:
        found = {
            name.removeprefix(f"{path}/"): digest for name, digest in digests.items() if name.startswith(f"{path}/")
        }
        for name in sorted(manifest.files.keys() | found.keys()):
            if name not in found:
                self._found("object", f"{path}/{name}", f"at {commit[:12]} it is missing.")
            elif name not in manifest.files:
                self._found("object", f"{path}/{name}", f"at {commit[:12]} no transaction of the lake put it there.")
            elif found[name] != manifest.files[name].sha256:
                self._found("object", f"{path}/{name}", f"at {commit[:12]} its content is not the published one.")
        names = select_identity(manifest.files, manifest.record.identity)
        version = merkle({name: manifest.files[name].sha256 for name in names})
        if version != manifest.record.entry.data_version:
            self._found("tree", path, f"at {commit[:12]} its list of files has data version {version}.")

    def _check_table(self, commit: str, path: str, manifest: Manifest) -> None:
        wanted = manifest.record.entry
        try:
            with self._parts.server.call.tables(f"read {path}"):
                found = read_table(self._parts.table(commit, path), path=path).record.entry
        except LakeUnavailableError:
            raise
        except LakeError as error:
            self._found("table", path, str(error))
            return
        if found.delta_version != wanted.delta_version:
            self._found(
                "table", path, f"at {commit[:12]} it is at Delta version {found.delta_version}, written by others."
            )
        elif found.data_version != wanted.data_version:
            problem = f"has data version {found.data_version}, not {wanted.data_version}."
            self._found("table", path, f"at {commit[:12]} its content {problem}")

    def _check_strays(self, commit: str, digests: dict[str, str | None]) -> None:
        known = set(self._parts.history.tree(commit))
        logs = {name.split("/_delta_log/")[0] for name in digests if "/_delta_log/" in name}
        for path in sorted(logs - known):
            self._found("table", path, f"at {commit[:12]} it has no manifest {key_of(path)}: written by others.")


def sweep(parts: Parts, *, grace: timedelta, dry_run: bool) -> Collected:
    """Removes working branches that dead processes left, with what was written to them.

    Committed objects are lakeFS's own to collect, by its garbage collection job and its retention rules.
    """
    objects = size = 0
    for name in parts.server.branches():
        age = age_of(name)
        if age is None or age < max(grace.total_seconds(), parts.settings.lease) or name in parts.live:
            continue
        staged = [found for found in parts.server.staged(name) if not found[0].startswith(ROOT)]
        objects += len(staged)
        size += sum(bytes for _, bytes in staged)
        if not dry_run:
            parts.server.delete_branch(name)
    return Collected(commits=0, objects=objects, bytes=size, dry_run=dry_run)
