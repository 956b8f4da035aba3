"""`headwater lake`: history, differences, branches, and the care of the lake."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headwater.cli._options import FiniteRange
from headwater.cli._output import json_option, show_facts, show_json, show_rows
from headwater.errors import HeadwaterError
from headwater.lake import Commit, Diff, Entry, Lake, Retention

if TYPE_CHECKING:
    from headwater.lake import EmbeddedLake


def _lake() -> Lake:
    from resources.opening import open_lake
    from resources.settings import load_settings

    return open_lake(load_settings(), create=False)


def _branch() -> str:
    """The branch that builds publish into: what is asked about without a ref is what they see."""
    from resources.settings import load_settings

    return load_settings().branch


@click.group()
def lake() -> None:
    """The versioned store under every asset. Without a ref, the branch that builds publish into: HEADWATER_BRANCH, else main."""


@lake.command()
@click.argument("ref", required=False)
@click.option("--path", help="Only commits that changed this asset.")
@click.option("--limit", "-n", type=click.IntRange(min=1), help="The newest N.")
@json_option
def log(ref: str | None, path: str | None, limit: int | None, as_json: bool) -> None:
    """History of REF, newest first."""
    found, at = _lake(), ref or _branch()
    rows = [_commit_row(commit) for commit in found.log(at, path=path, limit=limit)]
    if not rows and path is not None:
        found.at(at).entry(path)  # refuses a path that nobody ever wrote
    show_rows(rows, ("short", "created", "message", "actor"), as_json=as_json, empty="No commits.")


@lake.command()
@click.argument("ref", required=False)
@click.option("--path", help="Only this asset.")
@json_option
def show(ref: str | None, path: str | None, as_json: bool) -> None:
    """One commit: its provenance, and what stands in the lake there."""
    snapshot = _lake().at(ref or _branch())
    paths = [path] if path else list(snapshot.paths())
    facts = _commit_row(snapshot.commit) | {"parents": list(snapshot.commit.parents)}
    facts["assets"] = [_entry_row(snapshot.entry(name)) for name in paths]
    record = snapshot.commit.provenance
    facts["provenance"] = asdict(record) if record else None
    if as_json:
        show_json(facts)
        return
    show_facts({k: v for k, v in facts.items() if k not in ("assets", "provenance", "short")}, as_json=False)
    if record:
        show_facts({"run": record.run_id, "input commit": record.input_commit}, as_json=False)
        for pin in record.inputs:
            click.echo(f"  read   {pin.path}  {pin.data_version[:16]}")
        for check in record.checks:
            click.echo(f"  check  {'held  ' if check.passed else 'FAILED'} {check.name}")
    click.echo()
    show_rows(
        facts["assets"], ("path", "kind", "rows", "bytes", "data_version"), as_json=False, empty="Nothing stands here."
    )


@lake.command()
@click.argument("refs", nargs=-1, required=True)
@click.option("--two-dot", is_flag=True, help="Compare the two ends, not RIGHT with where it left LEFT.")
@json_option
def diff(refs: tuple[str, ...], two_dot: bool, as_json: bool) -> None:
    """What RIGHT changed since it parted from LEFT: `diff LEFT RIGHT`, `diff LEFT..RIGHT`, or `diff RIGHT` (against main)."""
    left, right = _two_refs(refs)
    found = _lake().diff(left, right, two_dot=two_dot)
    rows = _diff_rows(found)
    if as_json:
        show_json({"left": found.left, "right": found.right, "base": found.base, "changes": rows})
        return
    show_rows(rows, ("change", "path", "rows", "version", "schema"), as_json=False, empty="No differences.")


def _two_refs(refs: tuple[str, ...]) -> tuple[str, str]:
    if len(refs) == 1 and ".." in refs[0]:
        left, _, right = refs[0].replace("...", "..").partition("..")
        return left or "main", right or "main"
    if len(refs) == 1:
        return "main", refs[0]
    if len(refs) == 2:
        return refs[0], refs[1]
    raise click.UsageError("Name one or two refs, or LEFT..RIGHT.")


@lake.command()
@click.option("--delete", multiple=True, metavar="NAME", help="Removes a branch first (may be given again).")
@json_option
def branches(delete: tuple[str, ...], as_json: bool) -> None:
    """All branches. Those called `tx-…` were left by refused transactions, for a look."""
    found = _lake()
    for name in delete:
        found.delete_branch(name)
    rows = [asdict(ref) | {"short": ref.commit[:12]} for ref in found.branches()]
    show_rows(rows, ("name", "short", "protected"), as_json=as_json, empty="No branches.")


@lake.command()
@click.argument("name", required=False)
@click.option("--at", "ref", help="What the tag names; default the branch that builds publish into.")
@json_option
def tag(name: str | None, ref: str | None, as_json: bool) -> None:
    """Makes an immutable tag NAME, or lists all tags."""
    found = _lake()
    tags = found.tags() if name is None else (found.tag(name, at=ref or _branch()),)
    rows = [asdict(item) | {"short": item.commit[:12]} for item in tags]
    show_rows(rows, ("name", "short"), as_json=as_json, empty="No tags.")


@lake.command()
@click.argument("commit")
@click.option("--message", "-m", help="Message of the new commit.")
@json_option
def revert(commit: str, message: str | None, as_json: bool) -> None:
    """Puts back what COMMIT changed, as a new commit on the branch that builds publish into; automation then follows."""
    from headwater.runtime import user

    found = _lake()
    undone = found.resolve(commit)
    if not undone.parents:
        raise NothingBeforeError(commit=undone.id)
    done = found.revert(undone.id, into=_branch(), message=message, actor=user())
    show_facts({"changed": done.changed, **_commit_row(done.commit)}, as_json=as_json)


@lake.command()
@click.argument("path")
@click.option("--message", "-m", help="Message of the new commit.")
@json_option
def remove(path: str, message: str | None, as_json: bool) -> None:
    """Takes the asset PATH out of the branch that builds publish into: for one that no code makes any more. `lake revert` undoes it."""
    from headwater.lake._removal import remove_path
    from headwater.runtime import user

    done = remove_path(_lake(), path, into=_branch(), message=message, actor=user())
    if _is_declared(path):
        click.echo(f"{path} is still declared: it comes back when something that it is built from changes.", err=True)
    show_facts({"changed": done.changed, **_commit_row(done.commit)}, as_json=as_json)


def _is_declared(path: str) -> bool:
    from assets._declared import all_declared

    return any(asset.path == path for asset in all_declared())


@lake.command()
@click.argument("ref")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--path", "paths", multiple=True, help="Only this asset (may be given again).")
@json_option
def checkout(ref: str, destination: Path, paths: tuple[str, ...], as_json: bool) -> None:
    """Writes a plain copy of the lake at REF to an empty DESTINATION."""
    commit = _lake().checkout(ref, destination, paths=paths or None)
    show_facts({"commit": commit.id, "destination": str(destination)}, as_json=as_json)


@lake.command()
@click.option("--deep", is_flag=True, help="Also computes every data version on main again, from its content.")
@json_option
def verify(deep: bool, as_json: bool) -> None:
    """Re-hashes everything. Exit code 1 when anything is not as it was written."""
    result = _embedded("verify --deep").verify(deep=True) if deep else _lake().verify()
    facts = {"clean": result.clean, "commits": result.commits, "objects": result.objects, "bytes": result.bytes}
    rows = [asdict(finding) for finding in result.findings]
    if as_json:
        show_json(facts | {"findings": rows})
    else:
        for row in rows:
            click.echo(f"{row['what']} {row['name']}: {row['problem']}")
        verdict = "clean" if result.clean else f"{len(rows)} findings"
        click.echo(f"{verdict}: {result.objects} objects, {result.bytes} bytes, {result.commits} commits")
    if not result.clean:
        raise click.exceptions.Exit(1)


@lake.command()
@click.option("--grace-hours", type=FiniteRange(min=0), default=24.0, show_default=True, help="Keep what is younger.")
@click.option("--keep-commits", type=click.IntRange(min=1), help="Commits to keep on each branch; default all.")
@click.option("--keep-days", type=FiniteRange(min=0), help="Keep commits younger than this; default all.")
@click.option("--dry-run", is_flag=True, help="Say what would go, remove nothing.")
@json_option
def gc(grace_hours: float, keep_commits: int | None, keep_days: float | None, dry_run: bool, as_json: bool) -> None:
    """Removes what no ref, retained commit, live transaction or released model needs."""
    kept = None
    if keep_commits is not None or keep_days is not None:
        kept = Retention(keep_commits=keep_commits, keep_for=None if keep_days is None else timedelta(days=keep_days))
    done = _lake().gc(grace=timedelta(hours=grace_hours), retention=kept, dry_run=dry_run)
    show_facts(asdict(done), as_json=as_json)


@lake.command()
@json_option
def repair(as_json: bool) -> None:
    """Makes everything derived (checkouts, the view of main) anew; then verifies. Exit code 1 when findings are left."""
    found = _embedded("repair")
    found.repair()
    left = found.verify()
    show_facts({"clean": left.clean, "findings": [asdict(finding) for finding in left.findings]}, as_json=as_json)
    if not left.clean:
        raise click.exceptions.Exit(1)


def _embedded(action: str) -> "EmbeddedLake":
    from headwater.lake import EmbeddedLake

    found = _lake()
    if not isinstance(found, EmbeddedLake):
        raise click.UsageError(f"`{action}` is for the embedded lake; on lakeFS, the server does it.")
    return found


class NothingBeforeError(HeadwaterError):
    """The first commit has nothing before it to put back."""

    def __init__(self, *, commit: str) -> None:
        self.commit = commit
        super().__init__(
            f"{commit[:12]} is the first commit: nothing was before it. Name a later one of `headwater lake log`."
        )


def _commit_row(commit: Commit) -> dict[str, Any]:
    record = commit.provenance
    return {
        "id": commit.id,
        "short": commit.id[:12],
        "created": commit.created.isoformat(timespec="seconds"),
        "message": commit.message,
        "actor": record.actor if record else "outside Headwater" if commit.parents else "",
        "action": record.action if record else None,
        "transaction": record.transaction if record else None,
        "run_id": record.run_id if record else None,
        "paths": [output.path for output in record.outputs] if record else [],
    }


def _entry_row(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"kind": entry.kind.value}


def _diff_rows(found: Diff) -> list[dict[str, Any]]:
    return [
        {
            "path": change.path,
            "change": change.change.value,
            "kind": (change.after or change.before).kind.value,  # type: ignore[union-attr]
            "rows": _arrow(change.before and change.before.rows, change.after and change.after.rows),
            "version": _arrow(
                change.before and change.before.data_version[:12], change.after and change.after.data_version[:12]
            ),
            "schema": _schema_change(change.before, change.after),
            "before": _entry_row(change.before) if change.before else None,
            "after": _entry_row(change.after) if change.after else None,
        }
        for change in found.changes
    ]


def _arrow(before: Any, after: Any) -> str:
    if before is None and after is None:
        return ""
    return (
        str(after) if before == after else f"{'-' if before is None else before} -> {'-' if after is None else after}"
    )


def _schema_change(before: Entry | None, after: Entry | None) -> str:
    if before is None or after is None or before.schema == after.schema:
        return ""
    gone = [f"-{name}" for name in before.schema if name not in after.schema]
    new = [f"+{name}" for name in after.schema if name not in before.schema]
    other = [f"~{name}" for name in after.schema if before.schema.get(name, after.schema[name]) != after.schema[name]]
    return " ".join((*gone, *new, *other)) or "order"
