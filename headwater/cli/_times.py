"""Times as people give them to commands."""

from datetime import UTC, datetime

import click


def instant(text: str, option: str) -> datetime:
    """The instant that an option names, UTC where it has no zone. Raises click.UsageError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{option} {text!r} is no time such as 2013-07-01T12:00:00Z.") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
