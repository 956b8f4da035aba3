"""Reads a Dockerfile's instructions, as far as ours goes: comments, continued lines, stages, and commands as lists."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction.

    Attributes:
        name: Such as `COPY`.
        text: What follows it.
        stage: Number of its stage.
    """

    name: str
    text: str
    stage: int

    @property
    def words(self) -> list[str]:
        """A command that is written as a list."""
        found: list[str] = json.loads(self.text[self.text.index("[") :])
        return found


def read(file: Path) -> Sequence[Instruction]:
    """The instructions, in order."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, text = line.strip().partition(" ")
        stage += name == "FROM"
        found.append(Instruction(name=name, text=" ".join(text.split()), stage=stage))
    return found
