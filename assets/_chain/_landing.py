"""Landing assets: what arrived, every cell as text, so that nothing is lost before anybody judged it."""

from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from headwater.lake import Kind
from headwater.materialize import file_sha256
from headwater.product import Asset, Audit, Check, Inputs, RejectedInputError, Result, Source, Verdict

CHECKSUM_SUFFIX: Final = ".sha256"
_KEPT_ROWS: Final = 100


def landing_path(product: str, source: str) -> str:
    """Lake path of a source's landing asset."""
    return f"{product}/landing/{source}"


def landing_asset(product: str, source: Source) -> Asset:
    """The landing asset of one source: a table of text cells, by partition when files come by partition."""
    name = source.file_name("{partition}")
    return Asset(
        path=landing_path(product, source.name),
        kind=Kind.TABLE,
        compute=partial(_land_partition if source.partitions else _land, source=source),
        landed=(name,),
        partitions=source.partitions,
        checks=(
            Check(
                name="sha256_matches",
                judge=_sha256_matches,
                description="The file has the sha256 that came with it.",
            ),
            Check(
                name="columns_as_declared",
                judge=partial(_columns_as_declared, columns=source.columns),
                description="The header has every declared column and no other.",
            ),
            Check(name="not_empty", judge=_not_empty, description="The file has at least one row."),
        ),
        description=source.description or f"Files of {source.name} as they arrived, every cell as text.",
        kinds=("csv", "deltalake"),
    )


def _land(inputs: Inputs, *, source: Source) -> Result:
    return _read(inputs.landed(source.file_name()), source)


def _land_partition(inputs: Inputs, key: str, *, source: Source) -> Result:
    return _read(inputs.landed(source.file_name(key)), source)


def _read(file: Path, source: Source) -> Result:
    """Rows of a landed CSV file as text, in the declared column order, and the facts of the file."""
    try:
        frame = pl.read_csv(file, infer_schema=False, empty_string_is_null=False)
    except (pl.exceptions.NoDataError, pl.exceptions.ComputeError, UnicodeDecodeError) as error:
        raise RejectedInputError(
            f"{file.name!r} of source {source.name!r} cannot be read as CSV: {str(error).splitlines()[0]}. "
            "Land a whole file with a header line."
        ) from error
    known = [name for name in source.columns if name in frame.columns]
    extra = [name for name in frame.columns if name not in source.columns]
    missing = [name for name in source.columns if name not in frame.columns]
    if source.partitions is not None and (missing or extra):  # the table of the other partitions has no such rows
        raise RejectedInputError(
            f"{file.name!r} has other columns than source {source.name!r} declares: missing {missing or 'none'}, not "
            f"declared {extra or 'none'}. Land a file with the declared header.",
            rows=frame.head(_KEPT_ROWS),
        )
    return Result(data=frame.select(known + extra), facts=_facts(file))


def _facts(file: Path) -> dict[str, Any]:
    beside = file.with_name(file.name + CHECKSUM_SUFFIX)
    expected = beside.read_text().split()[0] if beside.is_file() and beside.read_text().strip() else None
    return {
        "file": file.name,
        "sha256": file_sha256(file),
        "expected_sha256": expected,
        "file_bytes": file.stat().st_size,
    }


def _sha256_matches(audit: Audit) -> Verdict:
    found, expected = audit.facts.get("sha256"), audit.facts.get("expected_sha256")
    shown = {"file": audit.facts.get("file"), "sha256": found, "expected_sha256": expected}
    if expected is None:
        return Verdict(passed=True, facts=shown, description="No checksum came with the file; its own is recorded.")
    return Verdict(
        passed=found == expected,
        facts=shown,
        description="" if found == expected else "The file is not the one its checksum was made of. Land it again.",
    )


def _columns_as_declared(audit: Audit, *, columns: tuple[str, ...]) -> Verdict:
    found = [name for name in audit.rows().collect_schema().names() if name != audit.partition_column]
    missing, extra = sorted(set(columns) - set(found)), sorted(set(found) - set(columns))
    return Verdict(
        passed=not missing and not extra,
        facts={"missing": missing, "extra": extra, "columns": len(found)},
        description=""
        if not missing and not extra
        else f"Missing: {missing or 'none'}; not declared: {extra or 'none'}.",
    )


def _not_empty(audit: Audit) -> Verdict:
    rows = int(audit.rows().select(pl.len()).collect().item())
    return Verdict(passed=rows > 0, facts={"rows": rows}, description="" if rows else "The file has no rows.")
