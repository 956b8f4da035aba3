"""Times as people give them to commands."""

from datetime import UTC, datetime

import click


def instant(text: str, option: str) -> datetime:
    """The instant that an option names, in UTC; without a zone it is UTC. Raises click.UsageError."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # the first hours of the year 1 are in no year elsewhere
        raise click.UsageError(f"{option} {text!r} is no time such as 2013-07-01T12:00:00Z.") from error
