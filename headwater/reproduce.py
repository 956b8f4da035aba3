"""Rebuilds a published asset from its record: input commit, code version, same function; compares data versions."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from headwater.code_version import code_version
from headwater.errors import HeadwaterError
from headwater.lake import Lake, digest_folder
from headwater.materialize import RecordingInputs
from headwater.product import Asset
from headwater.registry import ModelVersion


class CodeDiffersError(HeadwaterError):
    """The code at hand is not the code that built the version."""

    def __init__(self, *, name: str, recorded: str, found: str, git_commit: str | None, dirty: bool) -> None:
        self.name, self.recorded, self.found = name, recorded, found
        at = f"git commit {git_commit}" if git_commit else "an unknown git commit"
        why = " The checkout had uncommitted changes when it was built." if dirty else ""
        super().__init__(
            f"{name} was built by code version {recorded} at {at}; the code here is {found}.{why} "
            "Check out that commit and run again."
        )


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What a rebuild gave.

    Attributes:
        name: Which version.
        recorded: Data version of the published bundle.
        rebuilt: Data version of the rebuilt one.
        difference: The first difference, empty when identical.
    """

    name: str
    recorded: str
    rebuilt: str
    difference: str

    @property
    def identical(self) -> bool:
        """Whether both data versions are the same."""
        return self.recorded == self.rebuilt


def reproduce_model(lake: Lake, version: ModelVersion, asset: Asset, *, scratch: Path | None = None) -> Reproduction:
    """Trains a model version again from its input commit.

    Args:
        lake: The lake.
        version: Which version.
        asset: Its declaration in the code at hand.
        scratch: Directory for temporary files.

    Raises:
        CodeDiffersError: The code at hand is another code version.
        RefNotFoundError: The input commit was collected.
    """
    found = code_version(asset)
    if found != version.output.code_version:
        raise CodeDiffersError(
            name=version.name,
            recorded=version.output.code_version,
            found=found,
            git_commit=version.provenance.git_commit,
            dirty=version.provenance.git_dirty,
        )
    snapshot = lake.at(version.provenance.input_commit)
    inputs = RecordingInputs(lake=lake, snapshot=snapshot, asset=asset)
    with tempfile.TemporaryDirectory(prefix="reproduce-", dir=scratch) as name:
        folder = Path(name)
        asset.compute(inputs, folder)
        rebuilt = digest_folder(folder, identity=asset.identity)
        published = lake.at(version.commit).folder(version.path)
        difference = "" if rebuilt == version.data_version else first_difference(published, folder)
    return Reproduction(name=version.name, recorded=version.data_version, rebuilt=rebuilt, difference=difference)


def first_difference(left: Path, right: Path) -> str:
    """The first file, and in a text the first line, in which two folders differ."""
    names = sorted({str(p.relative_to(folder)) for folder in (left, right) for p in folder.rglob("*") if p.is_file()})
    for name in names:
        one, other = left / name, right / name
        if not other.is_file():
            return f"{name} is missing in the rebuilt bundle"
        if not one.is_file():
            return f"{name} is new in the rebuilt bundle"
        if one.read_bytes() != other.read_bytes():
            return f"{name}{_first_line(one.read_bytes(), other.read_bytes())}"
    return "the same files and bytes, so the digest's rule differs"


def _first_line(left: bytes, right: bytes) -> str:
    try:
        pairs = zip(left.decode().splitlines(), right.decode().splitlines(), strict=False)
    except UnicodeDecodeError:
        return " differs in its bytes"
    for number, (one, other) in enumerate(pairs, start=1):
        if one != other:
            return f", line {number}: published {one[:120]!r}, rebuilt {other[:120]!r}"
    return " differs in its length"
