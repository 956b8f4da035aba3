"""What options take, of any command."""

import sys

import click
import pytest
from click.testing import CliRunner

from headwater.cli import cli, main


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--deadline"),
        ("serve", "--follow"),
        ("stream", "follow", "flights", "--every"),
        ("replay", "flights", "--from", "2013-07", "--to", "2013-07", "--speed"),
        ("lake", "gc", "--keep-days"),
        ("lake", "gc", "--grace-hours"),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_number_without_an_end_is_no_number(words: tuple[str, ...], value: str) -> None:
    """A deadline of nan let every request fail, and a service that looked at the lake each nan seconds looked once."""
    done = CliRunner().invoke(cli, [*words, value])
    assert done.exit_code == 2, done.output
    assert words[-1] in done.output
    assert value in done.output


@pytest.mark.parametrize("name", ["", "../x", "Flights", "a/b"])
def test_a_service_is_asked_for_products_by_their_names(name: str) -> None:
    done = CliRunner().invoke(cli, ["serve", "--product", name])
    assert (done.exit_code, "is no product's name" in done.output) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("release", "hold", "flights", "--reason", "caf\udce9"),
        ("release", "promote", "flights", "--to", "\udcff", "--reason", "x"),
        ("review", "answer", "flights", "caf\udce9", "yes"),
    ],
    ids=lambda words: words[1],
)
def test_bytes_that_are_no_text_are_refused_before_anything_is_written(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal in Latin-1 gave them; the command ended in a traceback, and the roll-back was not done."""
    monkeypatch.setattr(sys, "argv", ["headwater", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "is no UTF-8" in said
    assert "Traceback" not in said


def test_text_of_any_language_is_taken() -> None:
    context = click.Context(cli)
    assert cli.parse_args(context, ["release", "hold", "flights", "--reason", "café ☂ 雨"])
