"""The sections of a model card, in the order and with the headings of Hugging Face's template."""

import json
import re
import shlex
from typing import Final

from governance.cards._document import (
    Block,
    Cell,
    Code,
    Document,
    Identifier,
    Missing,
    Section,
    Table,
    Text,
    Tile,
    Tone,
    identifier,
    pairs,
    section,
    table_or_missing,
    told,
)  # fmt: skip
from governance.cards._evaluation_sections import evaluation_sections, metric_text
from governance.cards._shared import command, digests, effort, inputs, owners, packages, provenance
from governance.cards.facts import ModelFacts

# A seed is a name of a random sequence, not an amount: no separators.
_SEED: Final = re.compile(r"(^|[._])seed$")


def model_document(facts: ModelFacts) -> Document:
    """The whole card."""
    return Document(
        kind="Model card",
        title=f"{facts.product} {facts.version}",
        subtitle=facts.question or "",
        tiles=_tiles(facts),
        sections=(
            *_details(facts),
            *_uses(facts),
            *_training(facts),
            *evaluation_sections(facts),
            *_technical(facts),
            *_closing(facts),
        ),
    )


def _tiles(facts: ModelFacts) -> tuple[Tile, ...]:
    auc = facts.evaluation.metric("auc") if facts.evaluation else None
    value, note = metric_text(auc)
    held = sum(gate.passed for gate in facts.gates)
    gates = Tile(
        label="Gates that hold",
        value=f"{held} of {len(facts.gates)}" if facts.gates else None,
        tone=(Tone.GOOD if held == len(facts.gates) else Tone.BAD) if facts.gates else Tone.PLAIN,
    )
    shifted = [item for item in facts.drift or () if item.verdict == "shifted"]
    drift = Tile(
        label="Shifted columns",
        value=None if facts.drift is None else f"{len(shifted)} of {len(facts.drift)}",
        tone=Tone.WARN if shifted else Tone.PLAIN,
    )
    return (
        Tile(label="AUC", value=value, note=note),
        gates,
        drift,
        Tile(label="Risk tier", value=facts.risk),
        Tile(label="Algorithm", value=facts.algorithm),
        Tile(label="Data version", value=Identifier(text=facts.data_version[:12]) if facts.data_version else None),
    )


def _details(facts: ModelFacts) -> tuple[Section, ...]:
    return (
        section(2, "Model Details"),
        section(
            3,
            "Model Description",
            told(facts.question, "the question it answers"),
            pairs(
                {
                    "Developed by": ", ".join(facts.owners) or None,
                    "Model type": facts.algorithm,
                    "Version": facts.version,
                    "Licence": facts.licence,
                    "Risk tier": facts.risk,
                    "Decision threshold": facts.threshold,
                }
            ),
        ),
        section(3, "Model Sources", provenance(facts.data_version, facts.code_version, facts.run)),
    )


def _uses(facts: ModelFacts) -> tuple[Section, ...]:
    failing = [gate for gate in facts.gates if not gate.passed]
    advice: list[Block] = [Text(text=f"Gate {gate.name} fails: {gate.reason}") for gate in failing]
    return (
        section(2, "Uses"),
        section(3, "Direct Use", told(facts.intended_use, "intended use")),
        section(3, "Downstream Use", Missing(what="use by other systems")),
        section(3, "Out-of-Scope Use", told(facts.out_of_scope, "uses that are out of scope")),
        section(2, "Bias, Risks, and Limitations", told(facts.limitations, "limitations")),
        section(3, "Recommendations", *(advice or [Missing(what="recommendations")])),
        section(
            2,
            "How to Get Started with the Model",
            *_start(facts),
            pairs({"Product": facts.product, "Data version of the bundle": identifier(facts.data_version)}),
        ),
    )


def _start(facts: ModelFacts) -> tuple[Block, ...]:
    if facts.path is None or facts.run.bundle_commit is None:
        return (Missing(what="where the bundle stands in the lake"),)
    commit, path = shlex.quote(facts.run.bundle_commit), shlex.quote(facts.path)
    place = json.dumps(f"FOLDER/{facts.path}", ensure_ascii=False)
    return (
        Text(text="Copies the bundle out of the lake; FOLDER is new or empty."),
        Code(text=f"headwater lake checkout {commit} FOLDER --path {path}", language="bash"),
        Text(text="Where Headwater is installed, MLflow loads that folder."),
        Code(text=f"import mlflow.pyfunc\n\nmodel = mlflow.pyfunc.load_model({place})", language="python"),
    )


def _training(facts: ModelFacts) -> tuple[Section, ...]:
    parts = [(part.name, part.start, part.end, part.rows, part.positives, part.purged) for part in facts.parts]
    identity: dict[str, Cell] = {"Training set": identifier(facts.training_set), "Label": identifier(facts.label)}
    features = [(Identifier(text=f.name), f.dtype, f.description, f.source) for f in facts.features]
    parameters = [(Identifier(text=name), _value(name, value)) for name, value in sorted(facts.parameters.items())]
    return (
        section(2, "Training Details"),
        section(
            3,
            "Training Data",
            pairs({**identity, "Rows without label, left out": facts.rows_without_label}),
            inputs(facts.inputs),
            table_or_missing(
                ("Part", "From", "Until", "Rows", "Positives", "Label too late, left out"),
                parts,
                "training, validation and test windows and rows",
            ),
        ),
        section(3, "Training Procedure"),
        section(
            4,
            "Preprocessing",
            table_or_missing(("Feature", "Dtype", "Meaning", "Comes from"), features, "features"),
        ),
        section(
            4,
            "Training Hyperparameters",
            table_or_missing(("Parameter", "Value"), parameters, "hyper-parameters"),
        ),
        section(4, "Speeds, Sizes, Times", effort(facts.run)),
    )


def _value(name: str, value: object) -> Cell:
    if isinstance(value, int) and _SEED.search(name):
        return Identifier(text=str(value))
    return value if isinstance(value, (str, bool, int, float)) or value is None else str(value)


def _technical(facts: ModelFacts) -> tuple[Section, ...]:
    cost = facts.run.cost
    impact: dict[str, Cell] = {
        "Hardware": facts.run.hardware,
        "CPU time, seconds": cost.cpu_seconds if cost else None,
        "Cloud provider": None,
        "Region": None,
        "Carbon emitted": None,
    }
    return (
        section(2, "Environmental Impact", pairs(impact)),
        section(2, "Technical Specifications"),
        section(
            3,
            "Model Architecture and Objective",
            pairs({"Architecture": facts.algorithm, "Objective": facts.objective}),
        ),
        section(3, "Compute Infrastructure"),
        section(4, "Hardware", told(facts.run.hardware, "hardware")),
        section(4, "Software", packages(facts.run)),
    )


def _closing(facts: ModelFacts) -> tuple[Section, ...]:
    return (
        section(2, "Citation", Missing(what="citation")),
        section(2, "Glossary", _GLOSSARY),
        section(2, "More Information"),
        section(
            3,
            "Reproduce",
            Text(text="Trains again at the input commit and compares data versions."),
            command(facts.reproduce, "the command that builds it again"),
        ),
        section(3, "Digests", digests(facts.digests, "digests of the bundle's files")),
        section(2, "Model Card Authors", Text(text="Computed from recorded facts; nobody typed a number.")),
        section(2, "Model Card Contact", owners(facts.owners)),
    )


_GLOSSARY = Table(
    rows=(
        ("AUC", "Chance that a random positive scores above a random negative."),
        ("Brier score", "Mean squared distance between score and outcome; lower is better."),
        ("Calibration error", "Mean distance between score and observed rate over bins of the score."),
        ("Gate", "A declared claim that blocks publication when it fails."),
        ("KS", "Largest gap between two distribution functions."),
        ("Lift", "Rate of positives among the best-scored rows over the rate among all."),
        ("PSI", "Population stability index: distance between two distributions over common bins."),
        ("Data version", "Digest of content, independent of file layout."),
    )
)
