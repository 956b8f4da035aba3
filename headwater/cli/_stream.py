"""`headwater stream`: what streams of events carry on."""

import click

from headwater.cli._output import json_option, show_json


@click.group()
def stream() -> None:
    """Streams: events that arrive one by one."""


@stream.command()
@click.argument("name", metavar="PRODUCT")
@click.option("--redis", default="", help="URL of a Redis with the online features, instead of the embedded store.")
@json_option
def refresh(name: str, redis: str, as_json: bool) -> None:
    """Adds what PRODUCT's streams say, up to their watermarks, to the online features that a service looks up.

    What was published meanwhile is taken first. Running it again adds nothing twice; run it as often as features shall be fresh.
    """
    from assets._products import product as find
    from headwater.cli._serve import open_store
    from headwater.features.online import refresh_online
    from headwater.features.online._content import read_content
    from resources.opening import open_lake
    from resources.settings import load_settings
    from serving.live import is_published, store_name

    settings, found = load_settings(), find(name)
    lake = open_lake(settings, create=False)
    snapshot = lake.at(settings.branch)
    content = read_content(snapshot.folder(f"{name}/online_features"))
    place, store = store_name(name, content), open_store(settings, redis)
    try:
        if not is_published(store, place, content):  # no service has come to it yet
            store.publish(place, content, commit=snapshot.commit.id)
        done = refresh_online(lake, found, store, name=place, ref=settings.branch)
    finally:
        store.close()
    views = {
        view: {"rows": made.rows, "until": made.until.isoformat() if made.until else None, "waits_for": made.waits_for}
        for view, made in done.views.items()
    }
    if as_json:
        show_json({"commit": done.commit, "is_changed": done.is_changed, "views": views})
        return
    for view, facts in views.items():
        said = f"{facts['rows']} rows up to {facts['until']}"
        click.echo(f"{view}: {facts['waits_for'] or said}")
    click.echo("Rows were added." if done.is_changed else "Nothing new.")
