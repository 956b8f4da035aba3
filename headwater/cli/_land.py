"""`headwater land`: puts a file where the landing assets look for it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headwater.errors import HeadwaterError

if TYPE_CHECKING:
    from headwater.product import Product, Source


class LandingError(HeadwaterError):
    """A file cannot be landed as asked."""

    def __init__(self, *, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")


@click.command()
@click.argument("product")
@click.argument("source", required=False)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--partition", help="Partition key, for sources that come by partition.")
@click.option("--packaged", is_flag=True, help="Land the product's packaged data instead of a file.")
def land(product: str, source: str | None, file: Path | None, partition: str | None, packaged: bool) -> None:
    """Lands FILE as SOURCE of PRODUCT. The landed-data sensor, or `headwater build`, takes it from there.

    A file that is landed already is replaced; the lake keeps what was published from it before.
    """
    from assets._products import product as find
    from resources.packaged import land_bytes, land_packaged
    from resources.settings import load_settings

    settings, found = load_settings(), find(product)
    if packaged:
        if source is not None:
            raise click.UsageError("--packaged lands the product's own data: drop it, or SOURCE and FILE.")
        if partition is not None:
            _check_packaged(found, partition)
        keys = (partition,) if partition else None
        done = land_packaged(found, settings.landing, partitions=keys, told=click.echo)
        click.echo(f"{len(done)} files landed in {settings.landing}")
        return
    if source is None or file is None:
        raise click.UsageError("Name SOURCE and FILE, or --packaged.")
    declared = next((item for item in found.sources if item.name == source), None)
    if declared is None:
        known = ", ".join(item.name for item in found.sources) or "none"
        raise LandingError(problem=f"Product {product!r} has no source {source!r}.", remedy=f"It has: {known}.")
    if (declared.partitions is None) != (partition is None):
        need = (
            "comes by partition: add --partition KEY" if declared.partitions else "has no partitions: drop --partition"
        )
        raise LandingError(problem=f"Source {source!r}", remedy=f"{need}.")
    if partition is not None:
        _check_partition(declared, partition)
    target = settings.landing / product / declared.file_name(partition)
    beside, checksum = file.with_name(file.name + ".sha256"), target.with_name(target.name + ".sha256")
    target.parent.mkdir(parents=True, exist_ok=True)
    if beside.is_file():
        if not (checksum.exists() and checksum.samefile(beside)):
            shutil.copyfile(beside, checksum)
    else:
        checksum.unlink(missing_ok=True)  # it belonged to the file that was there before
    land_bytes(file.read_bytes(), target)
    click.echo(f"landed {target}")


def _check_partition(source: "Source", partition: str) -> None:
    keys = source.partitions.keys if source.partitions is not None else ()
    if partition not in keys:
        raise LandingError(
            problem=f"{partition!r} is no partition of {source.name!r}.", remedy=f"Use {keys[0]} to {keys[-1]}."
        )


def _check_packaged(product: "Product", partition: str) -> None:
    """A partition that no packaged source has would be a file of nothing, under whatever name."""
    given = [source for source in product.sources if source.packaged is not None or source.sample]
    split = [source for source in given if source.partitions is not None]
    if not split:
        raise LandingError(
            problem=f"No packaged source of {product.name!r} comes by partition.", remedy="Drop --partition."
        )
    if not any(source.partitions is not None and partition in source.partitions.keys for source in split):
        _check_partition(split[0], partition)
