"""Cards of models and datasets, computed from recorded facts: values in, texts out."""

from governance.cards.card import IDENTITY, Card, dataset_card, model_card, write_card
from governance.cards.describe import describe_columns
from governance.cards.errors import CardError, UnstatableFactError
from governance.cards.facts import (
    ColumnFacts,
    DatasetFacts,
    DriftFacts,
    FeatureFacts,
    ModelFacts,
    PartFacts,
    PartitionFacts,
    RunFacts,
    SourceFileFacts,
    drift_facts,
)

__all__ = [
    "IDENTITY",
    "Card",
    "CardError",
    "ColumnFacts",
    "DatasetFacts",
    "DriftFacts",
    "FeatureFacts",
    "ModelFacts",
    "PartFacts",
    "PartitionFacts",
    "RunFacts",
    "SourceFileFacts",
    "UnstatableFactError",
    "dataset_card",
    "describe_columns",
    "drift_facts",
    "model_card",
    "write_card",
]
