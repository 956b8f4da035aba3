"""Builds as spans: what was published, at which commit, and, of a compaction, which requests it took in."""

import time
from collections.abc import Callable

from headwater.errors import HeadwaterError
from headwater.lake import Lake
from headwater.materialize import Outcome, read_positions
from headwater.product import Asset
from headwater.tracing import MOST_LINKS, Span, links_of, open_tracer
from resources.settings import Settings

SERVICE = "headwater-build"


def traced(
    build: Callable[[], Outcome], *, asset: Asset, partition: str | None, run_id: str, lake: Lake, settings: Settings
) -> Outcome:
    """What a build returns; the build is a span where a setting says where spans go.

    Args:
        build: Builds the asset.
        asset: The asset.
        partition: Its partition.
        run_id: The Dagster run, empty without.
        lake: The lake.
        settings: Where everything is.

    Raises:
        TracingError: Spans cannot be sent where the setting says.
    """
    tracer = open_tracer(settings.traces, SERVICE)
    if tracer is None:
        return build()
    links, start, outcome, error = _links(asset, lake, settings), time.time_ns(), None, ""
    try:
        outcome = build()
        return outcome
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
        raise
    finally:
        more = _told(outcome) if outcome is not None else {}
        facts = {"headwater.asset": asset.path, "headwater.partition": partition, "dagster.run_id": run_id or None}
        name = f"materialize {asset.path}"
        tracer.record(
            Span(name=name, start=start, end=time.time_ns(), attributes={**facts, **more}, links=links, error=error)
        )


def _told(outcome: Outcome) -> dict[str, object]:
    entry, provenance = outcome.entry, outcome.provenance
    return {
        "headwater.status": outcome.status.value,
        "headwater.commit": outcome.commit,
        "headwater.data_version": entry.data_version if entry is not None else None,
        "headwater.rows": entry.rows if entry is not None else None,
        "headwater.input_commit": provenance.input_commit if provenance is not None else None,
        "headwater.appended": outcome.facts.get("appended"),
    }


def _links(asset: Asset, lake: Lake, settings: Settings) -> tuple[tuple[str, str], ...]:
    """To the requests whose answers wait to be taken, the first of them."""
    if asset.feed is None:
        return ()
    from serving.prediction_log import decode_record, take

    folder, positions = settings.state / asset.feed.folder, read_positions(lake.at(settings.branch), asset.path)
    found = []
    try:
        for placed in take(folder, positions, most=MOST_LINKS).records:
            record = decode_record(placed.data)
            found.append((record.product, record.request_id, record.trace))
    except HeadwaterError:  # the build says what is wrong with the log
        return ()
    return tuple(links_of(found))[:MOST_LINKS]
