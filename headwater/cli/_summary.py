"""What `headwater build` says at its end: version, AUC, checks, commit, where to look."""

from typing import TYPE_CHECKING

from rich.console import Console

from headwater.registry import ModelState, ModelVersion, model_versions

if TYPE_CHECKING:
    from headwater.lake import Lake
    from headwater.product import Product
    from resources.settings import Settings


def show_summary(product: "Product", settings: "Settings", out: Console) -> None:
    """Prints the state of a product as the lake has it."""
    from resources.mlflow import sync_if_behind
    from resources.opening import open_lake

    lake = open_lake(settings)
    head = lake.resolve(settings.branch)
    versions = model_versions(lake, product.name, ref=settings.branch)
    if versions:
        sync_if_behind(lake, settings)
        _show_model(versions, out)
    held, failed = _checks(lake, product, settings.branch)
    out.print(
        f"  checks       {held} held" + (f", [red]{len(failed)} failed[/red]: {', '.join(failed)}" if failed else "")
    )
    out.print(f"  lake commit  {head.id[:12]}  (headwater lake log)")
    view = settings.lake_folder / settings.branch / product.name
    for label, place in (("model card", "model_card/card.html"), ("drift", "drift_page/drift.html")):
        if (view / place).exists():
            out.print(f"  {label:<11}  {view / place}", soft_wrap=True)
    out.print("  Dagster UI   make up, then http://127.0.0.1:3000")


def _show_model(versions: tuple[ModelVersion, ...], out: Console) -> None:
    live = next((version for version in versions if version.state is ModelState.LIVE), None)
    shown = live or versions[-1]
    auc = shown.metrics.get("auc")
    text = "not evaluated"
    if auc and auc["value"] is not None:
        text = f"AUC {auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}] on {auc['n']:,} rows"
    out.print(f"  model        [bold]{shown.name}[/bold] ({shown.state})  {text}")
    if live is not versions[-1]:
        out.print(f"  newest       {versions[-1].name} ({versions[-1].state})")


def _checks(lake: "Lake", product: "Product", branch: str) -> tuple[int, list[str]]:
    """How many checks held at the last publication of each asset, and which did not."""
    from assets._declared import declared
    from headwater.materialize import record_of

    snapshot, held, failed = lake.at(branch), 0, []
    for asset in declared(product):
        record = record_of(lake, snapshot, asset.path)
        for check in record.provenance.checks if record and record.provenance else ():
            if check.passed:
                held += 1
            else:
                failed.append(f"{asset.path}:{check.name} ({check.severity.lower()})")
    return held, failed
