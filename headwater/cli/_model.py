"""`headwater model`: versions as the lake knows them, and their reproduction."""

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import click

from headwater.cli._output import json_option, show_facts, show_json, show_rows
from headwater.errors import HeadwaterError
from headwater.lake import Lake
from headwater.names import InvalidNameError
from headwater.registry import ModelNotFoundError, ModelVersion, model_version, model_versions
from headwater.reproduce import CodeDiffersError, Reproduction, reproduce_model


def _lake() -> Lake:
    from resources.opening import open_lake
    from resources.settings import load_settings

    return open_lake(load_settings(), create=False)


def _find(lake: Lake, name: str) -> ModelVersion:
    """The version of this name; the error lists what there is, of any product."""
    from resources.settings import load_settings

    branch = load_settings().branch
    try:
        return model_version(lake, name, ref=branch)
    except (ModelNotFoundError, InvalidNameError) as error:
        raise ModelNotFoundError(name=name, known=tuple(item.name for item in _all(lake, branch))) from error


def _all(lake: Lake, branch: str) -> list[ModelVersion]:
    """Every version of every product that the lake has on a branch, oldest first."""
    names = {path.split("/")[0] for path in lake.at(branch).paths()}
    found = (version for name in names for version in model_versions(lake, name, ref=branch))
    return sorted(found, key=lambda version: (version.created, version.name))


@click.group()
def model() -> None:
    """Published model versions."""


@model.command(name="list")
@click.option("--product", help="Only this product.")
@json_option
def list_(product: str | None, as_json: bool) -> None:
    """Every model version, oldest first."""
    from assets._products import product as find
    from resources.settings import load_settings

    found = _all(_lake(), load_settings().branch)
    if product is not None:
        found = [version for version in found if version.product == product]
        if not found:
            find(product)
    rows = [_row(version) for version in found]
    shown = [row | {"auc": _auc(row["metrics"]), "commit": row["commit"][:12]} for row in rows]
    columns = ("product", "version", "state", "auc", "created", "commit")
    show_rows(rows if as_json else shown, columns, as_json=as_json, empty="No model has been published yet.")


@model.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """One version, PRODUCT@VERSION: what it is, what it was trained on, how it did."""
    found = _find(_lake(), name)
    facts = _row(found) | {
        "path": found.path,
        "signature": found.signature,
        "training": dict(found.training),
        "input_commit": found.provenance.input_commit,
        "inputs": [asdict(pin) for pin in found.inputs],
        "code_version": found.output.code_version,
        "definition": found.output.definition,
        "git_commit": found.provenance.git_commit,
        "git_dirty": found.provenance.git_dirty,
        "environment": found.provenance.environment,
        "checks": [asdict(check) for check in found.provenance.checks],
        "run_id": found.provenance.run_id,
        "actor": found.provenance.actor,
        "cost": asdict(found.provenance.cost),
    }
    if as_json:
        show_json(facts)
        return
    show_facts({k: v for k, v in facts.items() if k not in ("metrics", "inputs", "checks")}, as_json=False)
    for metric, value in facts["metrics"].items():
        click.echo(f"  {metric:<24} {_interval(value)}")
    for pin in found.inputs:
        click.echo(f"  read   {pin.path}  {pin.data_version[:16]}")
    for check in found.provenance.checks:
        click.echo(f"  check  {'held  ' if check.passed else 'FAILED'} {check.name}")


@model.command()
@click.argument("name")
@json_option
def reproduce(name: str, as_json: bool) -> None:
    """Checks out input commit and code version of PRODUCT@VERSION, trains again, compares. Exit code 1 when different."""
    from assets._declared import declared
    from assets._products import product as find
    from resources.settings import load_settings

    settings, lake = load_settings(), _lake()
    version = _find(lake, name)
    asset = next((item for item in declared(find(version.product)) if item.path == version.path), None)
    if asset is None:
        raise click.UsageError(f"Product {version.product!r} declares no model any more; check out its git commit.")
    try:
        done = reproduce_model(lake, version, asset, scratch=settings.scratch)
    except CodeDiffersError as error:
        raise click.exceptions.Exit(_with_recorded_code(version, error, as_json=as_json)) from error
    _show(done, as_json=as_json)
    if not done.identical:
        raise click.exceptions.Exit(1)


def _show(done: Reproduction, *, as_json: bool) -> None:
    if as_json:
        show_json(asdict(done) | {"identical": done.identical})
        return
    click.echo(f"{done.name}: {'identical' if done.identical else 'different'}")
    click.echo(f"  published {done.recorded}")
    click.echo(f"  rebuilt   {done.rebuilt}")
    if done.difference:
        click.echo(f"  first difference: {done.difference}")


def _with_recorded_code(version: ModelVersion, error: CodeDiffersError, *, as_json: bool) -> int:
    """Runs the reproduction in a worktree of the recorded git commit; returns its exit code."""
    from headwater.runtime import code_state, project_root
    from resources.settings import load_settings

    root, settings = project_root(), load_settings()
    commit, git = version.provenance.git_commit, shutil.which("git")
    here = code_state()
    if commit is None or git is None or (here.commit == commit and not here.dirty):
        raise error
    folder = settings.scratch / f"code-{commit[:12]}-{os.getpid()}"
    made = subprocess.run(
        [git, "-C", str(root), "worktree", "add", "--detach", "--quiet", str(folder), commit],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise CodeGoneError(name=version.name, commit=commit, said=made.stderr) from error
    try:
        click.echo(f"checked out code of git commit {commit[:12]}", err=True)
        command = [sys.executable, "-m", "headwater.cli", "model", "reproduce", version.name]
        environment = {**os.environ, "PYTHONPATH": str(folder), "HEADWATER_STATE": str(settings.state)}
        done = subprocess.run([*command, *(["--json"] if as_json else [])], cwd=folder, env=environment, check=False)
        return done.returncode
    finally:
        subprocess.run([git, "-C", str(root), "worktree", "remove", "--force", str(folder)], check=False)


class CodeGoneError(HeadwaterError):
    """The recorded git commit is not in this clone."""

    def __init__(self, *, name: str, commit: str, said: str) -> None:
        self.name, self.commit = name, commit
        super().__init__(
            f"{name} was built by git commit {commit}, which this clone cannot check out ({said.strip()}). "
            "Fetch it and run again."
        )


def _row(version: ModelVersion) -> dict[str, Any]:
    return {
        "product": version.product,
        "version": version.version,
        "data_version": version.data_version,
        "commit": version.commit,
        "metrics": dict(version.metrics),
        "state": version.state.value,
        "created": version.created.isoformat(timespec="seconds"),
    }


def _auc(metrics: dict[str, Any]) -> str:
    return _interval(metrics["auc"]) if "auc" in metrics else ""


def _interval(metric: Any) -> str:
    if metric["value"] is None:
        return "undefined"
    if metric["low"] is None:
        return f"{metric['value']:.4f}"
    return f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"
