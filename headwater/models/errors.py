"""Errors of training, bundles and evaluation. Each names the culprit and the next step."""

from collections.abc import Sequence

from headwater.errors import HeadwaterError


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


class ModelError(HeadwaterError):
    """Any error of the models' room."""


class UnusableDataError(ModelError):
    """The rows, not the code, are at fault: an asset answers it with a failed check rather than a crash."""


class ModelDeclarationError(ModelError):
    """A model, split or gate is declared wrongly."""

    def __init__(self, *, what: str, problem: str, remedy: str) -> None:
        self.what, self.problem = what, problem
        super().__init__(f"{what}: {problem} {remedy}")


class MissingColumnsError(UnusableDataError):
    """A frame lacks columns that the model needs."""

    def __init__(self, *, columns: Sequence[str], frame: str, found: Sequence[str]) -> None:
        self.columns, self.frame = tuple(columns), frame
        super().__init__(
            f"The {frame} rows lack column{'s' if len(columns) > 1 else ''} {_listed(columns)}; "
            f"they have {_listed(sorted(found))}. Add them upstream, or take them out of the model's declaration."
        )


class WrongDtypeError(UnusableDataError):
    """A column's dtype is not one that the model can use."""

    def __init__(self, *, column: str, frame: str, found: str, expected: str) -> None:
        self.column, self.frame, self.found = column, frame, found
        super().__init__(
            f"Column '{column}' of the {frame} rows has dtype {found}, the model needs {expected}. "
            f"Cast it upstream (parts of a datetime are features made upstream)."
        )


class NullInputError(UnusableDataError):
    """A column declared as never null has nulls."""

    def __init__(self, *, column: str, frame: str, count: int) -> None:
        self.column, self.count = column, count
        super().__init__(
            f"Column '{column}' of the {frame} rows has {count} nulls but is declared never null. "
            f"Fill it upstream, or take it out of the model's `not_null`."
        )


class LabelError(UnusableDataError):
    """A label column that cannot train or judge a model."""

    def __init__(self, *, label: str, frame: str, problem: str, remedy: str) -> None:
        self.label, self.frame, self.problem = label, frame, problem
        super().__init__(f"Label '{label}' of the {frame} rows {problem}. {remedy}")


class EmptyPartError(UnusableDataError):
    """A part of a split, or a sample to judge, has no rows."""

    def __init__(self, *, part: str, detail: str, remedy: str) -> None:
        self.part = part
        super().__init__(f"The {part} part has no rows{detail}. {remedy}")


class NullTimeError(UnusableDataError):
    """Rows without the time that decides which part of a split they belong to."""

    def __init__(self, *, column: str, rows: int) -> None:
        self.column, self.rows = column, rows
        super().__init__(
            f"'{column}' is null in {rows} rows. Drop or date those rows upstream: a row without a time belongs to no part "
            "of a split."
        )


class SampleShapeError(ModelError):
    """Arrays that must have one value a row differ in length, or hold values that no score can be."""

    def __init__(self, *, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(
            f"'{name}' {problem}. Pass one finite score between 0 and 1 for each judged row, in the same order."
        )


class BundleError(ModelError):
    """A model bundle on disk cannot be trusted or read."""

    def __init__(self, *, folder: str, file: str, problem: str) -> None:
        self.folder, self.file, self.problem = folder, file, problem
        super().__init__(
            f"The model bundle at {folder} is not usable: file '{file}' {problem}. "
            f"Nothing was loaded. Check the folder out of the lake again, or train the model again."
        )


class BundleExistsError(ModelError):
    """A bundle would be written over something."""

    def __init__(self, *, folder: str, found: Sequence[str]) -> None:
        self.folder = folder
        super().__init__(
            f"The folder {folder} holds {_listed(sorted(found)[:5])} already, so no model bundle is written there. "
            f"Give an empty or new folder."
        )


class ReservedFileError(ModelError):
    """An extra file of a bundle has a name that the bundle needs or that leaves the folder."""

    def __init__(self, *, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"The extra bundle file '{name}' {reason}. Choose another relative name.")


class RecordError(ModelError):
    """A stored record (evaluation, preprocessing, signature) cannot be read."""

    def __init__(self, *, record: str, reason: str) -> None:
        self.record, self.reason = record, reason
        super().__init__(f"The {record} record cannot be read: {reason}. Materialize what wrote it again.")


class RegistryError(ModelError):
    """MLflow cannot be brought in line with the lake."""

    def __init__(self, *, what: str, problem: str, remedy: str) -> None:
        self.what, self.problem = what, problem
        super().__init__(f"{what}: {problem} {remedy}")


class MissingPackageError(ModelError):
    """An optional package that this model needs is not installed."""

    def __init__(self, *, package: str, extra: str, purpose: str) -> None:
        self.package = package
        super().__init__(
            f"Package '{package}' is not installed; {purpose} needs it. Install the extra: pip install headwater[{extra}]."
        )


class RequestSchemaError(UnusableDataError):
    """A request for predictions cannot be described: a column is missing, or no request could hold it."""

    def __init__(self, *, columns: Sequence[str], problem: str) -> None:
        self.columns, self.problem = tuple(columns), problem
        super().__init__(
            f"The columns {', '.join(map(repr, columns))} {problem}. Requests hold numbers, texts, booleans, times and dates: name "
            "such columns of the labels in the model's features, the views' entities and the inputs of on-demand features."
        )
