"""Which predictions count where a product's past is played several times."""

from datetime import datetime
from typing import Any

import polars as pl

from headwater.product import Product


def counted(product: Product, predictions: pl.LazyFrame) -> pl.LazyFrame:
    """The predictions without those that a later play of the product's past took the place of: all of them where it has no replay.

    Args:
        product: The product.
        predictions: With `request_id` and `at`.
    """
    if product.replay is None:
        return predictions
    from headwater.replay import standing_answers

    return standing_answers(predictions)


def newest_begun(product: Product, rows: pl.DataFrame) -> tuple[int, datetime | None]:
    """The newest play, and the first instant that it asked about; 0 and None without any.

    Args:
        product: The product.
        rows: Predictions or outcomes, with `request_id` and `at`.
    """
    if product.replay is None:
        return 0, None
    from headwater.replay import newest_play, play_of

    play = newest_play(rows.lazy())
    begun: Any = rows.filter(play_of() == play)["at"].min() if play else None
    return play, begun
