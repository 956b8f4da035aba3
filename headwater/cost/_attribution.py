"""Which model version a transaction was for. Each belongs to one version or to none, so that versions add up to their product."""

from collections.abc import Iterator, Mapping, Sequence

from headwater.cost._records import Kind, Spent
from headwater.names import RELEASED_FACT, VERSION_FACT
from headwater.provenance import Output, Pin

_ABOUT = (VERSION_FACT, RELEASED_FACT)


def versions_of(records: Sequence[Spent], product: str) -> Mapping[str, str]:
    """Transactions of a product to the version that they were for.

    A transaction belongs to the version that it says it is about (the model itself, its evaluation, card and release); else to the
    version whose model it read; else to the first version for whose making its output was needed: training set, features, datasets
    and landed files, as the pins say. What no version needed so far, and what watches all of them (predictions, outcomes, drift), belongs
    to none.

    Args:
        records: All records, oldest first.
        product: The product.

    Returns:
        By transaction id; what belongs to none is absent.
    """
    own = [one for one in records if product in one.products]
    index, owners = _Written(own), dict[str, str]()
    path = f"{product}/model"
    for one in own:
        if version := _about(one, product):
            owners[one.record.transaction] = version
    models = {
        output.data_version: str(output.facts[VERSION_FACT])
        for one in own
        for output in one.record.outputs
        if output.path == path and one.kind is Kind.PUBLISHED and VERSION_FACT in output.facts
    }
    for one in own:
        read = [pin.data_version for pin in one.record.inputs if pin.path == path and pin.read and pin.role == "input"]
        if one.record.transaction not in owners and read and read[0] in models:
            owners[one.record.transaction] = models[read[0]]
    for one in own:
        maker = owners.get(one.record.transaction, "")
        if maker and one.kind is Kind.PUBLISHED and one.record.output(path) is not None:
            _claim(one, maker, owners, index)
    return owners


class _Written:
    """Which published transaction wrote what, and when."""

    def __init__(self, records: Sequence[Spent]) -> None:
        self._places = {one.commit: place for place, one in enumerate(records) if one.commit}
        self._by_path: dict[str, list[tuple[int, Output, Spent]]] = {}
        for place, one in enumerate(records):
            for output in one.record.outputs if one.kind is Kind.PUBLISHED else ():
                self._by_path.setdefault(output.path, []).append((place, output, one))

    def makers(self, reader: Spent, pin: Pin) -> Iterator[Spent]:
        """What made an input as it was read: the newest write before, of a partitioned table that of each partition."""
        last = self._places[reader.commit]
        before = [item for item in self._by_path.get(pin.path, ()) if item[0] < last]
        same = [at for at, (_, output, _) in enumerate(before) if output.data_version == pin.data_version]
        seen: set[str] = set()
        for _, output, one in reversed(before[: same[-1] + 1] if same else before):
            if output.partition is None:
                if not seen:
                    yield one
                return
            if output.partition not in seen:
                seen.add(output.partition)
                yield one


def _claim(model: Spent, version: str, owners: dict[str, str], index: _Written) -> None:
    """Gives a version all that its model was made of and that nothing owns yet; what is owned was claimed with all above it."""
    pending, seen = [model], set[str]()
    while pending:
        reader = pending.pop()
        for pin in reader.record.inputs:
            if pin.role != "input" or not pin.read:
                continue
            for maker in index.makers(reader, pin):
                id = maker.record.transaction
                if id in seen or owners.get(id, version) != version:
                    continue
                seen.add(id)
                owners[id] = version
                pending.append(maker)


def _about(one: Spent, product: str) -> str:
    """The version that a transaction says it is about; empty when it says none."""
    for output in one.record.outputs:
        if output.path.startswith(f"{product}/"):
            for fact in _ABOUT:
                if output.facts.get(fact):
                    return str(output.facts[fact])
    return ""
