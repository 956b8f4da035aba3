"""What the service shows before anything has happened, so that the first time is an increase."""

from prometheus_client import CollectorRegistry

from serving.http._metrics import Metrics


def test_answers_of_each_version_and_failures_begin_at_zero() -> None:
    """The first thousand answers of a version fell between two scrapes, and two failures after them were all that was asked."""
    metrics = Metrics(CollectorRegistry())
    metrics.begin("toy", ("1.0.0", "ensemble"), {}, promised=0.1)
    found = {
        (one.labels["version"], one.labels["code"]): one.value
        for family in metrics.requests.collect()
        for one in family.samples
        if one.name == "headwater_requests_total"
    }
    answered = {("1.0.0", "200"): 0.0, ("ensemble", "200"): 0.0}
    assert found == {**answered, **{("", code): 0.0 for code in ("429", "500", "503", "504")}}
    for counted in (metrics.seconds, metrics.batch_seconds):
        (count,) = [one for family in counted.collect() for one in family.samples if one.name.endswith("_count")]
        assert (count.labels, count.value) == ({"product": "toy"}, 0.0)
