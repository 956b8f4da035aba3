"""What the pages say: fenced blocks, commands, links."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = tuple(
    sorted(
        file
        for pattern in ("*.md", "docs/*.md", "docs/adr/*.md", "docs/runbooks/*.md")
        for file in ROOT.glob(pattern)
        if not file.name.startswith(".")
    )
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
# What starts a command line: a prompt, settings of the environment, the folder of the tool.
_BEFORE = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?=headwater )")


def fenced(page: Path, language: str | None = None) -> Iterator[str]:
    """The fenced blocks of a page, of one language or of all."""
    for found, text in _FENCE.findall(page.read_text()):
        if language is None or found == language:
            yield text


def commands(page: Path) -> Iterator[Sequence[str]]:
    """The words of every `headwater ...` command on a page, in fenced blocks and inline, without `headwater`."""
    prose = _FENCE.sub("", page.read_text())
    lines = [line for block in fenced(page) for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"; (?:do |done)?|&& |\| ", line)]
    for text in (*parts, *_INLINE.findall(prose)):
        # Only what names a command: prose also says `headwater` and `headwater/lake`.
        command = _BEFORE.sub("", text)
        if command.startswith("headwater ") and re.match(r"headwater [a-z-]", command):
            yield shlex.split(command, comments=True)[1:]


def links(page: Path) -> Iterator[str]:
    """Targets of links and images on a page, outside of code."""
    yield from _LINK.findall(_INLINE.sub("", _FENCE.sub("", page.read_text())))


def anchors(page: Path) -> frozenset[str]:
    """The anchors that a page's headings have where Markdown is shown."""
    titles = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)
