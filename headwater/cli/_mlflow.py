"""`headwater mlflow`: MLflow as a view of the lake."""

import click

from headwater.cli._output import json_option, show_facts


@click.group()
def mlflow() -> None:
    """Experiments and the model registry in MLflow, made from the lake."""


@mlflow.command()
@json_option
def sync(as_json: bool) -> None:
    """Makes MLflow's tables say what the lake says. Safe to repeat; rebuilds them from nothing."""
    from resources.mlflow import sync_all
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    show_facts(sync_all(open_lake(settings, create=False), settings), as_json=as_json)
