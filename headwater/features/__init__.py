"""Features: views, point-in-time joins, leakage checks."""

from headwater.features._leakage import (
    LeakageFinding,
    LeakageKind,
    duplicate_entities,
    future_columns,
    future_values,
    label_among_features,
    late_labels,
    single_feature_auc,
    suspicious_features,
)
from headwater.features._on_demand import OnDemandFeatures, add_on_demand, fill_defaults
from headwater.features._point_in_time import point_in_time_join, visible_at
from headwater.features._streamed import StreamedView
from headwater.features._view import FeatureTable, FeatureView

__all__ = [
    "FeatureTable",
    "FeatureView",
    "LeakageFinding",
    "LeakageKind",
    "OnDemandFeatures",
    "StreamedView",
    "add_on_demand",
    "duplicate_entities",
    "fill_defaults",
    "future_columns",
    "future_values",
    "label_among_features",
    "late_labels",
    "point_in_time_join",
    "single_feature_auc",
    "suspicious_features",
    "visible_at",
]
