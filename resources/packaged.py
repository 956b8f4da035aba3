"""Lands the real data that ships inside installed packages, verified by sha256, without importing them."""

import glob
import importlib.util
import io
import secrets
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import polars as pl

from headwater.errors import HeadwaterError
from headwater.materialize import file_sha256
from headwater.product import PackagedFile, Product, Source
from headwater.runtime import project_root

_LONGEST_WRITE: Final = 3600.0
"""Seconds after which a half-written file has nobody who writes it."""


class PackagedDataError(HeadwaterError):
    """A packaged data file is missing or is not the one that was declared."""

    def __init__(self, *, file: PackagedFile, problem: str) -> None:
        self.file = file
        super().__init__(
            f"{file.file} of {file.distribution}: {problem}. Install it with `pip install --no-deps {file.distribution}`."
        )


def packaged_path(file: PackagedFile) -> Path:
    """The file inside the installed package, its sha256 checked.

    Raises:
        PackagedDataError: Package or file is missing, or the sha256 differs.
    """
    name = file.distribution.partition("==")[0].replace("-", "_")
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise PackagedDataError(file=file, problem="the package is not installed")
    path = Path(places[0]) / file.file
    if not path.is_file():
        raise PackagedDataError(file=file, problem="the file is not in the package")
    found = file_sha256(path)
    if found != file.sha256:
        raise PackagedDataError(file=file, problem=f"its sha256 is {found}, declared is {file.sha256}")
    return path


def land_packaged(
    product: Product, landing: Path, *, partitions: tuple[str, ...] | None = None, told: Callable[[str], object] = str
) -> list[Path]:
    """Writes the landed files of a product's packaged sources that are not there yet.

    Args:
        product: Whose sources.
        landing: The landing folder.
        partitions: Keys to land, of each source those that it has; None takes each source's `initial`.
        told: Called with the name of each landed file.

    Returns:
        The files written; files that are there already are left as they are.
    """
    written: list[Path] = []
    for source in product.sources:
        if source.packaged is None and not source.sample:
            continue
        keys = _keys(source, partitions)
        targets = {key: landing / product.name / source.file_name(key) for key in keys}
        missing = {key: target for key, target in targets.items() if not target.exists()}
        if not missing:
            continue
        frame = _read(_origin(product, source))
        for key, target in missing.items():
            rows = frame if key is None else frame.filter(_partition_key(source) == key)
            rows = rows.select(name for name in rows.columns if name in source.columns or source.packaged)
            land_bytes(rows.write_csv().encode(), target)
            told(str(target.relative_to(landing)))
            written.append(target)
    return written


def _keys(source: Source, wanted: tuple[str, ...] | None) -> tuple[str | None, ...]:
    if source.partitions is None:
        return (None,)
    return source.initial if wanted is None else tuple(key for key in wanted if key in source.partitions.keys)


def packaged_rows(product: Product) -> dict[str, pl.DataFrame]:
    """The packaged rows of each source that has some, every cell as text. Raises PackagedDataError."""
    return {source.name: _read(_origin(product, source)) for source in product.sources if source.packaged is not None}


def _origin(product: Product, source: Source) -> Path:
    if source.packaged is not None:
        return packaged_path(source.packaged)
    return project_root() / "assets" / product.name / source.sample


def land_bytes(content: bytes, target: Path) -> None:
    """Writes a landed file whole or not at all: a sensor never sees half of it. Of several at once the last one stands."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):  # by somebody who was killed
        with suppress(OSError):  # somebody else's, or gone meanwhile: that keeps nothing from landing
            if time.time() - left.stat().st_mtime > _LONGEST_WRITE:
                left.unlink()
    half = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        half.write_bytes(content)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
    else:
        content = path.read_bytes()
    return pl.read_csv(io.BytesIO(content), infer_schema=False, empty_string_is_null=False)


def _partition_key(source: Source) -> pl.Expr:
    """The partition key of each row: `YYYY-MM` from a year and a month column, or the one key column."""
    if len(source.partition_of) == 1:
        return pl.col(source.partition_of[0])
    year, month = source.partition_of
    return pl.col(year) + "-" + pl.col(month).str.zfill(2)
