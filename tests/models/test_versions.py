from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.models import VersionFacts, definition_digest, next_version, parse_version
from headwater.models.errors import ModelDeclarationError

numbers = st.integers(0, 50)
digests = st.sampled_from("abc")
versions = st.builds(lambda a, b, c: f"{a}.{b}.{c}", numbers, numbers, numbers)
facts = st.builds(VersionFacts, signature=digests, definition=digests, data_version=digests, version=versions)


def test_the_first_version_is_one() -> None:
    assert next_version(None, VersionFacts(signature="s", definition="d", data_version="v")) == "1.0.0"


PREVIOUS = VersionFacts(version="2.3.4", signature="s", definition="d", data_version="v")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "2.3.4"),
        ({"data_version": "w"}, "2.3.5"),
        ({"definition": "e"}, "2.4.0"),
        ({"definition": "e", "data_version": "w"}, "2.4.0"),
        ({"signature": "t"}, "3.0.0"),
        ({"signature": "t", "definition": "e", "data_version": "w"}, "3.0.0"),
    ],
)
def test_what_changed_decides_which_number_rises(changed: dict[str, str], expected: str) -> None:
    assert next_version(PREVIOUS, replace(PREVIOUS, **changed)) == expected


@settings(deadline=None)
@given(facts, facts)
def test_versions_never_fall_and_rise_by_one_step_exactly_when_something_changed(
    previous: VersionFacts, current: VersionFacts
) -> None:
    before, after = parse_version(previous.version), parse_version(next_version(previous, current))
    same = replace(previous, version="") == replace(current, version="")
    assert (before == after) == same
    assert after >= before
    if not same:
        step = next(index for index in range(3) if before[index] != after[index])
        assert after[step] == before[step] + 1
        assert after[step + 1 :] == (0,) * (2 - step)


@settings(deadline=None)
@given(st.lists(facts, min_size=1, max_size=8))
def test_a_chain_of_trainings_gives_each_change_a_version_of_its_own(chain: list[VersionFacts]) -> None:
    previous = None
    seen: list[str] = []
    for current in chain:
        version = next_version(previous, current)
        if not seen or version != seen[-1]:
            seen.append(version)
        previous = replace(current, version=version)
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, key=parse_version)


@settings(deadline=None)
@given(facts)
def test_the_typed_version_of_the_new_model_is_never_read(current: VersionFacts) -> None:
    assert next_version(PREVIOUS, current) == next_version(PREVIOUS, replace(current, version="9.9.9"))


@pytest.mark.parametrize("wrong", ["", "1.0", "1.0.0-rc1", "01.0.0", "v1.0.0", "1.0.0\n"])
def test_what_is_no_version_is_refused(wrong: str) -> None:
    with pytest.raises(ModelDeclarationError, match=r"major\.minor\.patch"):
        parse_version(wrong)


def test_a_definition_is_the_declaration_and_the_code() -> None:
    base = definition_digest(declaration={"a": 1, "b": 2}, code="x")
    assert definition_digest(declaration={"b": 2, "a": 1}, code="x") == base
    assert definition_digest(declaration={"a": 1, "b": 3}, code="x") != base
    assert definition_digest(declaration={"a": 1, "b": 2}, code="y") != base
