"""Cards: every number is a fact, every missing fact is said, no text becomes markup, nothing is asked of the network."""

import json
import re
import shutil
import subprocess
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.cards import (
    IDENTITY,
    Card,
    ColumnFacts,
    DatasetFacts,
    DriftFacts,
    FeatureFacts,
    ModelFacts,
    PartFacts,
    RunFacts,
    UnstatableFactError,
    dataset_card,
    model_card,
    write_card,
)
from governance.cards._numbers import show
from headwater.models import Evaluation, Metric
from headwater.provenance import CheckRecord, Cost, Pin
from tests.governance.scenario import BUNDLE_COMMIT, COMMIT, DIGEST, HOSTILE, dataset_facts, evaluation, model_facts

MODEL_HEADINGS = """\
## Model Details
### Model Description
### Model Sources
## Uses
### Direct Use
### Downstream Use
### Out-of-Scope Use
## Bias, Risks, and Limitations
### Recommendations
## How to Get Started with the Model
## Training Details
### Training Data
### Training Procedure
#### Preprocessing
#### Training Hyperparameters
#### Speeds, Sizes, Times
## Evaluation
### Testing Data, Factors & Metrics
#### Testing Data
#### Factors
#### Metrics
### Results
#### Summary
## Model Examination
## Environmental Impact
## Technical Specifications
### Model Architecture and Objective
### Compute Infrastructure
#### Hardware
#### Software
## Citation
## Glossary
## More Information
## Model Card Authors
## Model Card Contact""".splitlines()
DATASET_HEADINGS = """\
## Dataset Details
### Dataset Description
### Dataset Sources
## Uses
### Direct Use
### Out-of-Scope Use
## Dataset Structure
## Dataset Creation
### Curation Rationale
### Source Data
#### Data Collection and Processing
#### Who are the source data producers?
### Annotations
#### Annotation process
#### Who are the annotators?
#### Personal and Sensitive Information
## Bias, Risks, and Limitations
### Recommendations
## Citation
## Glossary
## More Information
## Dataset Card Authors
## Dataset Card Contact""".splitlines()
NUMBER = re.compile(r"(?<![\w.,])-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?(?![\w])")
BARE = ModelFacts(product="bare", version="1.0.0")


@pytest.fixture(scope="module")
def full() -> Card:
    return model_card(model_facts())


def front_matter(card: Card) -> dict[str, Any]:
    _, block, _ = card.markdown.split("---\n", 2)
    return dict(yaml.safe_load(block))


def body(card: Card) -> str:
    return card.markdown.split("---\n", 2)[2]


def leaves(value: Any) -> list[Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return [leaf for item in fields(value) for leaf in leaves(getattr(value, item.name))]
    if isinstance(value, dict):
        return [leaf for pair in value.items() for item in pair for leaf in leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


class Page(HTMLParser):
    """Collects tags, attributes and the text people see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._hidden += tag in ("style", "svg")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "svg")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)


def test_the_model_card_has_every_heading_of_the_template_in_order(full: Card) -> None:
    for card in (full, model_card(BARE)):
        headings = [line.replace("&amp;", "&") for line in body(card).splitlines() if line.startswith("##")]
        assert [line for line in headings if line in MODEL_HEADINGS] == MODEL_HEADINGS


def test_the_dataset_card_has_every_heading_of_the_template_in_order() -> None:
    for facts in (dataset_facts(), DatasetFacts(product="bare", path="bare/x")):
        headings = [line for line in body(dataset_card(facts)).splitlines() if line.startswith("##")]
        assert [line for line in headings if line in DATASET_HEADINGS] == DATASET_HEADINGS


def test_the_front_matter_is_hugging_faces(full: Card) -> None:
    facts, found = model_facts(), front_matter(full)
    assert list(found) == [
        "language", "license", "library_name", "pipeline_tag", "tags", "datasets", "metrics", "model_name", "model-index",
    ]  # fmt: skip
    assert found["license"] == "apache-2.0"
    assert found["datasets"] == ["flights/training_set"]
    (entry,) = found["model-index"]
    (result,) = entry["results"]
    assert result["task"]["type"] == "tabular-classification"
    assert result["dataset"]["revision"] == COMMIT
    assert result["dataset"]["type"] == result["dataset"]["name"] == "flights/training_set"
    assert facts.evaluation is not None
    exact = {metric.name: metric.value for metric in facts.evaluation.metrics}
    assert {item["name"]: item["value"] for item in result["metrics"]} == exact
    assert all({"type", "value"} <= set(item) for item in result["metrics"])


def test_hugging_faces_own_reader_takes_the_front_matter(full: Card) -> None:
    hub = pytest.importorskip("huggingface_hub")
    read = hub.ModelCard(full.markdown)
    assert read.data.license == "apache-2.0"
    assert {result.metric_name for result in read.data.eval_results} >= {"auc", "brier"}
    assert hub.DatasetCard(dataset_card(dataset_facts()).markdown).data.pretty_name == "flights/datasets/flights"


def test_without_a_commit_the_revision_is_the_training_datas_version() -> None:
    found = front_matter(model_card(replace(model_facts(), run=RunFacts())))
    assert found["model-index"][0]["results"][0]["dataset"]["revision"] == "ab12" * 16
    assert (
        "revision"
        not in front_matter(model_card(replace(model_facts(), run=RunFacts(), inputs=())))["model-index"][0]["results"][
            0
        ]["dataset"]
    )


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("MIT", {"license": "mit"}), ("House terms 3", {"license": "other", "license_name": "House terms 3"}), (" ", {})],
)
def test_a_licence_is_named_as_hugging_face_names_it(licence: str, expected: dict[str, str]) -> None:
    found = front_matter(model_card(replace(BARE, licence=licence)))
    assert {name: value for name, value in found.items() if name.startswith("license")} == expected


def test_the_dataset_front_matter_describes_the_table() -> None:
    found = front_matter(dataset_card(dataset_facts()))
    assert found["size_categories"] == ["100K<n<1M"]
    assert found["pretty_name"] == "flights/datasets/flights"
    assert found["dataset_info"]["features"][0] == {"name": "dep_delay", "dtype": "Float64"}
    assert found["dataset_info"]["splits"] == [{"name": "all", "num_examples": 336_776}]


def test_every_fact_of_a_full_card_can_be_read_in_it(full: Card) -> None:
    text, seen = body(full), " ".join(Page(full.html).text)
    facts = model_facts()
    assert facts.evaluation is not None
    for metric in facts.evaluation.metrics:
        assert metric.value is not None
        assert show(metric.value) in text
        assert f'value="{metric.value!r}"' in full.html
    for wanted in (
        COMMIT,
        DIGEST,
        "5a1d9c1e-7a52-4f26-9a57-5d1c40b4a0b1",
        "learning_rate",
        "0.05",
        "104,211",
        "38.9130",
    ):
        assert wanted in text
        assert wanted in seen
    for gate in facts.gates:
        assert gate.name in text
        assert gate.reason in seen
    assert "1 of 3" in seen
    assert "too few rows" in seen
    assert "headwater model reproduce flights@1.3.0" in text


def test_a_champion_that_could_not_be_compared_shows_why() -> None:
    gap = "Version 1.2.0 cannot score the test rows. Column 'x' is missing."
    facts = replace(model_facts(), evaluation=replace(evaluation(), champion=None, champion_gap=gap))
    card = model_card(facts)
    champion = body(card).split("#### Champion\n")[1].split("####")[0]
    assert champion.strip() == f"Not compared: {gap}"
    assert f"Not compared: {gap}" in "".join(Page(card.html).text)
    assert "comparison with a champion" not in card.markdown


def test_seeds_have_no_separators_and_counts_no_decimals(full: Card) -> None:
    text, seen = body(full), " ".join(Page(full.html).text)
    assert f"- **Seed:** `{evaluation().seed}`" in text
    assert "| `seed` | `20130101` |" in text
    assert "20,130,101" not in text + seen
    whole = replace(evaluation().lift[0], n=2_708, positives=2_055.0)
    tied = replace(evaluation().lift[1], positives=2_055.5)
    lift = body(model_card(replace(model_facts(), evaluation=replace(evaluation(), lift=(whole, tied)))))
    rows = [line for line in lift.split("#### Lift\n")[1].split("####")[0].splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[1:3] for row in rows] == [["2,708", "2,055"], [f"{tied.n:,}", "2,055.50"]]


def test_the_commands_that_load_the_model_are_whole(full: Card) -> None:
    start = body(full).split("## How to Get Started with the Model\n")[1].split("\n## ")[0]
    assert f"```bash\nheadwater lake checkout {BUNDLE_COMMIT} FOLDER --path flights/model\n```" in start
    assert 'mlflow.pyfunc.load_model("FOLDER/flights/model")' in start
    unknown = body(model_card(replace(model_facts(), run=RunFacts())))
    assert "*Not recorded: where the bundle stands in the lake.*" in unknown
    assert "headwater lake checkout" not in unknown


@pytest.mark.skipif(shutil.which("chromium") is None, reason="measures the page in a browser")
@pytest.mark.heavy
def test_the_data_version_stands_on_one_line_of_its_tile(full: Card, tmp_path: Path) -> None:
    measure = """<script>document.title = [...document.querySelectorAll('.tile .value code')]
        .map(code => code.getClientRects().length + '/' + (code.scrollWidth > code.parentNode.clientWidth)).join()</script>"""
    (tmp_path / "card.html").write_text(full.html.replace("</body>", measure + "</body>"), encoding="utf-8")
    for width in (700, 1000, 1400):
        browser = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/{width}",
            f"--window-size={width},900", "--dump-dom", str(tmp_path / "card.html"),
        ]  # fmt: skip
        done = subprocess.run(browser, capture_output=True, text=True, timeout=60, check=True)
        assert "<title>1/false</title>" in done.stdout


def test_missing_facts_say_so_and_are_not_invented() -> None:
    card = model_card(BARE)
    text = body(card)
    for what in (
        "intended use", "limitations", "features", "hyper-parameters", "evaluation", "gates", "calibration", "importances",
        "drift of the newest rows against training", "software environment", "inputs of the build", "owners",
        "the command that builds it again", "comparison with a champion", "hardware", "citation",
    ):  # fmt: skip
        assert f"*Not recorded: {what}.*" in text
        assert f"Not recorded: {what}." in card.html
    assert "**Licence:** *not recorded*" in text
    # The only digits are the version's, headings' and the glossary's none.
    assert NUMBER.findall(re.sub(r"1\.0\.0", "", text)) == []
    assert "<svg" not in card.html
    found = front_matter(card)
    assert not {"license", "datasets", "metrics", "model-index", "library_name"} & set(found)


def test_missing_facts_of_a_dataset_say_so() -> None:
    text = body(dataset_card(DatasetFacts(product="p", path="p/d")))
    for what in (
        "description",
        "columns",
        "partitions",
        "checks of the contract",
        "source files",
        "personal information",
    ):
        assert f"*Not recorded: {what}.*" in text
    assert NUMBER.findall(text) == []


def test_an_undefined_metric_shows_its_reason_and_stays_out_of_the_index() -> None:
    known = evaluation()
    undefined = Metric(name="auc", value=None, n=6_000, undefined_reason="undefined: one class only")
    facts = replace(model_facts(), evaluation=replace(known, metrics=(undefined, *known.metrics[1:])))
    card = model_card(facts)
    assert "| auc | undefined: one class only |" in card.markdown
    index = front_matter(card)["model-index"][0]["results"][0]["metrics"]
    assert "roc_auc" not in [item["type"] for item in index]


REAL = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)
COUNT = st.integers(0, 10**12)
WORD = st.text(alphabet="abcdefgh_", min_size=1, max_size=12)


@st.composite
def random_facts(draw: st.DrawFn) -> ModelFacts:
    def metric(name: str) -> Metric:
        value, low, high = draw(REAL), draw(st.none() | REAL), draw(REAL)
        return Metric(name=name, value=value, n=draw(COUNT), low=low, high=None if low is None else high)

    found = Evaluation(
        rows=draw(COUNT), positives=draw(COUNT), threshold=draw(REAL), resamples=draw(COUNT), level=draw(REAL),
        seed=draw(COUNT), clustered=draw(st.booleans()), slice_floor=draw(COUNT),
        metrics=tuple(metric(name) for name in ("brier", "auc")),
    )  # fmt: skip
    cost = Cost(wall_seconds=draw(REAL), cpu_seconds=draw(REAL), bytes_written=draw(COUNT))
    return ModelFacts(
        product=draw(WORD),
        version="-".join(draw(st.lists(WORD, min_size=1, max_size=2))),
        parameters=draw(st.dictionaries(WORD, REAL | COUNT | st.booleans() | WORD, max_size=5)),
        threshold=draw(st.none() | REAL),
        features=tuple(FeatureFacts(name=name) for name in draw(st.lists(WORD, max_size=3))),
        parts=tuple(PartFacts(name=draw(WORD), rows=draw(COUNT), positives=draw(st.none() | COUNT)) for _ in range(2)),
        evaluation=found,
        drift=tuple(
            DriftFacts(column=draw(WORD), verdict="stable", psi=draw(REAL), ks=draw(st.none() | REAL)) for _ in range(2)
        ),
        run=RunFacts(cost=draw(st.none() | st.just(cost))),
    )


@given(random_facts())
@settings(max_examples=60, deadline=None)
def test_every_number_in_a_card_is_a_fact_and_every_fact_is_in_the_card(facts: ModelFacts) -> None:
    card = model_card(facts)
    numbers = [leaf for leaf in leaves(facts) if isinstance(leaf, (int, float)) and not isinstance(leaf, bool)]
    assert facts.evaluation is not None
    # A seed is written as it is.
    numbers.remove(facts.evaluation.seed)
    stated = {show(number) for number in numbers} | {str(facts.evaluation.seed)}
    page = Page(card.html)
    # Counts of tiles ("0 of 2 shifted") are counted, not told.
    counted = {"0", str(len(facts.drift or ()))}
    assert set(NUMBER.findall(body(card))) <= stated
    assert set(NUMBER.findall(" ".join(page.text).replace("\u00a0", " "))) <= stated | counted
    exact = {repr(number) for number in numbers}
    assert {value for tag, name, value in page.attributes if (tag, name) == ("data", "value")} <= exact
    untold = {facts.run.cost.lake_seconds} if facts.run.cost else set()
    missing = {show(n) for n in numbers if n not in untold} - set(NUMBER.findall(body(card)))
    assert not missing


def test_the_page_asks_nothing_of_the_network(full: Card) -> None:
    for card in (full, dataset_card(dataset_facts()), model_card(BARE)):
        page = Page(card.html)
        assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
        references = [value for _, name, value in page.attributes if name in ("href", "src", "xlink:href", "action")]
        assert all(reference.startswith("#") for reference in references)
        assert "http" not in re.sub(r"https?://evil", "", card.html).lower()
        assert "@import" not in card.html
        assert re.findall(r"url\((?!#)", card.html) == []


def test_drawings_show_in_light_and_dark_and_have_ids_of_their_own(full: Card) -> None:
    page = Page(full.html)
    names = {value for tag, name, value in page.attributes if tag == "figure" and name == "id"}
    assert names == {f"figure-{name}" for name in ("calibration", "roc", "lift", "slices-0", "slices-1", "importances")}
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, name, value in page.attributes if name == "href"}
    assert targets <= set(ids)
    assert "prefers-color-scheme: dark" in full.html
    assert "var(--accent)" in full.html
    assert "#010203" not in full.html


def hostile_model() -> ModelFacts:
    return ModelFacts(
        product=HOSTILE, path=HOSTILE, version=HOSTILE, question=HOSTILE, owners=(HOSTILE,), intended_use=HOSTILE + "\n\n# heading\n---",
        limitations="- list\n\n1. list", licence=HOSTILE, algorithm=HOSTILE, parameters={HOSTILE: HOSTILE},
        features=(FeatureFacts(name=HOSTILE, description=HOSTILE),), data_version=HOSTILE, training_set=HOSTILE,
        inputs=(Pin(path=HOSTILE, data_version=HOSTILE),), reproduce="```\n" + HOSTILE,
        checks=(CheckRecord(name=HOSTILE, passed=False, facts={HOSTILE: HOSTILE}),),
        drift=(DriftFacts(column=HOSTILE, verdict=HOSTILE, reason=HOSTILE),),
        evaluation=replace(
            evaluation(),
            champion=None,
            champion_gap=HOSTILE,
            slices=tuple(replace(s, column=HOSTILE, value=f"{HOSTILE}{n}") for n, s in enumerate(evaluation().slices)),
            importances=tuple(replace(item, feature=HOSTILE) for item in evaluation().importances),
        ),
        run=RunFacts(actor=HOSTILE, environment=(f"{HOSTILE}==1",), hardware=HOSTILE, bundle_commit=HOSTILE),
    )  # fmt: skip


def test_no_text_of_a_fact_becomes_markup_in_the_page() -> None:
    html = model_card(hostile_model()).html
    harmless = Page(model_card(replace(hostile_model(), question="q")).html)
    page = Page(html)
    assert "script" not in page.tags
    assert "a" in page.tags
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "script" not in harmless.tags
    assert HOSTILE in "".join(page.text)


def test_no_text_of_a_fact_becomes_markup_in_the_markdown() -> None:
    facts = hostile_model()
    card = model_card(facts)
    text = body(card)
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$|`[^`\n]*`", "", text)
    assert "<script" not in outside
    assert "](" not in outside.replace("\\]", "")
    assert "https://" not in outside
    assert "\n# heading" not in text
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert len(headings) == len([line for line in body(model_card(BARE)).splitlines() if line.startswith("#")])
    widths = {line.replace("\\|", "").count("|") for line in outside.splitlines() if line.startswith("| ")}
    assert widths <= set(range(2, 9))
    assert front_matter(card)["license_name"] == HOSTILE


def test_a_hostile_command_cannot_end_its_fence() -> None:
    text = body(model_card(hostile_model()))
    fence = re.search(r"(?m)^(`{4,})bash$", text)
    assert fence is not None
    assert text.count(f"\n{fence.group(1)}\n") == 1


def test_equal_facts_give_equal_bytes() -> None:
    evaluation.cache_clear()
    first = model_card(model_facts())
    evaluation.cache_clear()
    assert model_card(model_facts()) == first
    assert dataset_card(dataset_facts()) == dataset_card(dataset_facts())


def test_two_builds_of_one_model_have_one_identity() -> None:
    later = replace(
        model_facts(),
        run=RunFacts(lake_commit="0" * 64, git_commit="1" * 40, cost=Cost(wall_seconds=9.9, cpu_seconds=1.1)),
    )
    first, second = model_card(model_facts()), model_card(later)
    assert first.facts_json == second.facts_json
    assert first.run_json != second.run_json
    for passing in (COMMIT, "2704871f3a9d", "41.27", "38.913", "5a1d9c1e", "06:30:18", "user:ada", "numpy"):
        assert passing not in first.facts_json
        assert passing in first.run_json
    retrained = model_card(replace(model_facts(), data_version="ff" * 32))
    assert retrained.facts_json != first.facts_json


def test_the_identity_holds_every_stable_fact_exactly(full: Card) -> None:
    stored = json.loads(full.facts_json)
    assert set(stored) == {item.name for item in fields(ModelFacts)} - {"run"}
    facts = model_facts()
    assert facts.evaluation is not None
    assert Evaluation.from_json(stored["evaluation"]) == facts.evaluation
    assert set(json.loads(full.run_json)) == {item.name for item in fields(RunFacts)}
    assert IDENTITY == ("facts.json",)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_a_fact_that_is_no_value_is_refused_by_name(value: Any) -> None:
    with pytest.raises(UnstatableFactError, match=r"'parameters\.rate' is .*Leave it out \(None\)"):
        model_card(replace(BARE, parameters={"rate": value}))


def test_a_written_card_is_four_files(tmp_path: Path, full: Card) -> None:
    write_card(full, tmp_path / "card")
    assert sorted(item.name for item in (tmp_path / "card").iterdir()) == [
        "README.md", "card.html", "facts.json", "run.json",
    ]  # fmt: skip
    assert (tmp_path / "card" / "README.md").read_text(encoding="utf-8") == full.markdown
    assert (tmp_path / "card" / "facts.json").read_text(encoding="utf-8") == full.facts_json


def test_names_with_dollar_signs_are_drawn_as_they_are() -> None:
    # matplotlib takes $...$ for mathematics, and fails on "$\\frac$".
    odd = replace(evaluation().importances[0], feature=r"$\frac$")
    card = model_card(replace(model_facts(), evaluation=replace(evaluation(), importances=(odd,))))
    assert r"$\frac$" in card.html


def test_names_in_any_script_are_drawn_without_a_complaint() -> None:
    named = replace(evaluation().importances[0], feature="遅延 ✈️ задержка")
    card = model_card(replace(model_facts(), evaluation=replace(evaluation(), importances=(named,))))
    assert card.html.count("遅延 ✈️ задержка") == 2


def test_a_dataset_card_shows_ranges_of_every_kind() -> None:
    columns = (
        ColumnFacts(name="n", dtype="Int64", nulls=0, distinct=5, minimum=-3, maximum=2013),
        ColumnFacts(name="t", dtype="Date", minimum="2013-01-01", maximum="2013-12-31"),
    )
    text = body(dataset_card(replace(dataset_facts(), columns=columns)))
    assert "| `n` | Int64 | 0 | 5 | `-3` | `2013` | *not recorded* |" in text
    assert "| `t` | Date | *not recorded* | *not recorded* | 2013-01-01 | 2013-12-31 |" in text
