"""Claims about tables, ready to declare: each function gives one `Check`. What is undefined fails, it never passes."""

from headwater.checks._columns import columns_as_declared, nulls_below, values_among, values_in_range
from headwater.checks._references import share_of_references_found
from headwater.checks._rows import keys_are_unique, not_empty, rows_in_usual_range
from headwater.checks._times import known_after_event, months_match_partition, newest_near_partition_end

__all__ = [
    "columns_as_declared",
    "keys_are_unique",
    "known_after_event",
    "months_match_partition",
    "newest_near_partition_end",
    "not_empty",
    "nulls_below",
    "rows_in_usual_range",
    "share_of_references_found",
    "values_among",
    "values_in_range",
]
