"""Features: views, point-in-time joins, leakage checks."""

from headwater.features._point_in_time import point_in_time_join, visible_at
from headwater.features._view import FeatureTable, FeatureView

__all__ = [
    "FeatureTable",
    "FeatureView",
    "point_in_time_join",
    "visible_at",
]
