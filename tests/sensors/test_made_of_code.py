"""What needs nothing to be there, such as a table that commands fill, is started by its condition: no sensor waits for it."""

import dagster as dg
import pytest

from assets._automation import with_automation
from assets._bridge import asset_key, dagster_asset
from assets._chain._release_orders import release_orders_asset
from headwater.product import Product
from resources.lake import LakeResource

pytestmark = [
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.op is deprecated"),
    pytest.mark.filterwarnings("ignore:Parameter `include_sources`"),  # of the evaluation that the test asks for
]
PRODUCT = Product(name="toy", question="Does it begin?", owners=("team:toy",))


def test_it_is_started_once_while_it_is_missing() -> None:
    asset = release_orders_asset(PRODUCT)
    defs = dg.Definitions(assets=with_automation([dagster_asset(asset, PRODUCT)]), resources={"lake": LakeResource()})
    instance = dg.DagsterInstance.ephemeral()
    first = dg.evaluate_automation_conditions(defs=defs, instance=instance)
    assert first.total_requested == 1
    second = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=first.cursor)
    assert second.total_requested == 0
    instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=asset_key(asset.path)))
    third = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=second.cursor)
    assert third.total_requested == 0
