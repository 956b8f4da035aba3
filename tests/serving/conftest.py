"""A lake with two released versions of a small model, and its online features; and with a second product beside it."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureTable, FeatureView, OnDemandFeatures, add_on_demand, fill_defaults
from headwater.features.online import prepare
from headwater.features.online._content import write_content
from headwater.lake import EmbeddedLake, Kind, Transaction
from headwater.models import IDENTITY, LogisticBaseline, request_schema, train_model, write_bundle
from headwater.names import RELEASED_FACT, SIGNATURE_FACT, VERSION_FACT
from headwater.provenance import Output, Provenance
from headwater.testing.online_suite import VIEW, hour, rows
from serving.policies import Policy, to_json
from tests.serving.toy import TWICE

PRODUCT, OTHER = "toy", "other"


TRAINING = pl.DataFrame(
    {
        "order": range(60),
        "at": [hour(n) for n in range(60)],
        "who": ["ann", "bob"] * 30,
        "x": range(60),
        "kind": ["a", "b", None] * 20,
        "h_value": [None, 10, 20] * 20,
        "h_double": [None, 20, 40] * 20,
        "o_value": [None, 30, 60] * 20,
    }
)
SERVED = replace(VIEW, defaults={"value": -1})
"""The view as a product declares it: what is not known reads as -1."""
WIDER = replace(SERVED, features=("double", "value"))
"""The same after it gained a column, which stands first."""
REPLACED = replace(VIEW, features=("double",))
"""The same with another column in the place of the one there was."""


def bundle(
    folder: Path,
    *,
    slope: float,
    schema: bool = True,
    views: Sequence[FeatureView] = (SERVED,),
    more: Sequence[str] = (),
    dtype: type[pl.DataType] = pl.Int64,
    on_demand: Sequence[OnDemandFeatures] = (TWICE,),
) -> Path:
    """A bundle that was trained on sixty rows; another slope gives other weights. It may want `more` fields of a request, and compute less.

    It reads all that the views give, whose columns are of one dtype, and what is computed from a value among it.
    """
    late = pl.Series("late", [int(n * slope % 60 > 30) for n in range(60)])
    looked_up = [name for view in views for name in view.outputs.values()]
    on_demand = on_demand if "h_value" in looked_up else ()
    given = fill_defaults(TRAINING.with_columns(pl.col(looked_up).cast(dtype)), views)
    given = add_on_demand(given, on_demand).with_columns(late)
    given = given.with_columns(pl.lit(1.0).alias(name) for name in more)
    features = ("x", "kind", *looked_up, *(name for one in on_demand for name in one.outputs), *more)
    declared = LogisticBaseline(
        features=features, categorical=("kind", *(looked_up if dtype is pl.String else ())), label="late"
    )
    request = request_schema(
        given.schema, features=features, time="at", key=("order",), views=views, on_demand=on_demand, trained=given
    )
    write_bundle(folder, train_model(given, given, declared), request=request if schema else None)
    return folder


class Released:
    """Publishes models and releases of a product as builds do."""

    def __init__(self, folder: Path, product: str = PRODUCT) -> None:
        self.folder, self.product = folder, product
        self.lake = EmbeddedLake.open(folder / "lake")

    def publish(self, path: str, write: Callable[[Transaction], str], facts: dict[str, str]) -> str:
        with self.lake.transaction() as tx:
            output = Output(path=path, kind=Kind.FOLDER, data_version=write(tx), code_version="", facts=facts)
            record = Provenance(
                transaction=secrets.token_hex(8),
                action="materialize",
                outputs=(output,),
                input_commit=tx.base.commit.id,
            )
            return tx.publish(message=f"Materialize {path}", provenance=record).commit.id

    def model(self, version: str, *, slope: int, **more: Any) -> None:
        source, path = bundle(self.folder / f"{self.product}-{version}", slope=slope, **more), f"{self.product}/model"
        facts = {VERSION_FACT: version, SIGNATURE_FACT: ""}
        self.publish(path, lambda tx: tx.write_folder(path, source, identity=IDENTITY).data_version, facts)

    def release(
        self,
        policy: Policy | str,
        version: str,
        *,
        deprecated: Sequence[str] = (),
        retired: Sequence[str] = (),
        **serving: Any,
    ) -> str:
        source = self.folder / f"release-{secrets.token_hex(4)}"
        source.mkdir()
        said = policy if isinstance(policy, str) else to_json(policy)
        statement = {"product": self.product, "version": version, "policy": said, "serving": serving}
        statement |= {"deprecated": list(deprecated), "retired": list(retired)}
        (source / "release.json").write_text(json.dumps(statement))
        path = f"{self.product}/release"
        facts = {RELEASED_FACT: version}
        return self.publish(path, lambda tx: tx.write_folder(path, source).data_version, facts)

    def online(
        self, value: int | None, *, view: FeatureView = VIEW, dtype: type[pl.DataType] = pl.Int64, who: Any = "ann"
    ) -> str:
        """Features of ann, or of another entity, at hour 1: a value and twice that, as far as the view has them."""
        source = self.folder / f"online-{value}-{secrets.token_hex(4)}"
        source.mkdir()
        frame = rows(("ann", 1, 1, value)).with_columns(pl.lit(who).alias("who"), double=pl.col("value") * 2)
        frame = frame.with_columns(pl.col("value", "double").cast(dtype))
        write_content(prepare([(FeatureTable(view=view, rows=frame), str(value))], since=hour(0)), source)
        path = f"{self.product}/online_features"
        return self.publish(path, lambda tx: tx.write_folder(path, source).data_version, {})


@pytest.fixture
def released(tmp_path: Path) -> Released:
    made = Released(tmp_path)
    made.model("1.0.0", slope=1)
    made.model("1.1.0", slope=7)
    made.online(10)
    made.release("all-at-once", "1.0.0")
    return made


@pytest.fixture
def beside(released: Released) -> Released:
    """A second product in the same lake."""
    return publish_other(released.folder)


def publish_other(folder: Path) -> Released:
    """Publishes and releases a second product in a lake."""
    made = Released(folder, OTHER)
    made.model("1.0.0", slope=7)
    made.online(20)
    made.release("all-at-once", "1.0.0")
    return made
