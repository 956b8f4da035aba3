"""What a lake promises about branches, tags and commits by name."""

import pytest

from headwater.lake import Lake
from headwater.lake.errors import ProtectedBranchError, RefExistsError, RefNotFoundError
from headwater.names import MAIN, InvalidNameError
from headwater.testing._lake_suite._common import MORE, OTHER, PATH, ROWS, SuiteBase, ids, publish

BAD_REFS = [
    "",
    "a b",
    "a/b",
    "a..b",
    "-a",
    "ü",
    "x" * 300,
    "a~1",
    "a^",
    "a$",
    "end.",
    "end@",
    "0123456789abcdef" * 4,
]


class RefsSuite(SuiteBase):
    """Names for commits."""

    def test_a_new_lake_has_a_protected_main_with_nothing_on_it(self, lake: Lake) -> None:
        (main,) = lake.branches()
        assert (main.name, main.kind, main.protected) == (MAIN, "branch", True)
        assert main.commit == lake.resolve(MAIN).id
        assert lake.at(MAIN).paths() == ()
        assert lake.tags() == ()

    def test_a_branch_starts_where_it_is_told_and_moves_alone(self, lake: Lake) -> None:
        first = publish(lake, PATH, ROWS).commit
        publish(lake, PATH, MORE)
        ref = lake.create_branch("dev", at=f"{MAIN}~1", protected=True)
        assert (ref.commit, ref.protected) == (first.id, True)
        publish(lake, OTHER, ROWS, into="dev")
        assert [ref.name for ref in self.reopen(lake).branches()] == ["dev", MAIN]
        assert lake.at("dev").paths() == (OTHER, PATH)
        assert lake.at(MAIN).paths() == (PATH,)
        assert ids(lake, ref="dev") == [1, 2, 3]

    def test_a_branch_exists_once(self, lake: Lake) -> None:
        lake.create_branch("dev")
        with pytest.raises(RefExistsError, match="dev"):
            lake.create_branch("dev")
        with pytest.raises(RefNotFoundError):
            lake.create_branch("other", at="absent")

    def test_protection_guards_deletion(self, lake: Lake) -> None:
        lake.create_branch("dev")
        lake.protect("dev")
        for name in ("dev", MAIN):
            with pytest.raises(ProtectedBranchError, match=name):
                lake.delete_branch(name)
        lake.protect("dev", on=False)
        lake.delete_branch("dev")
        with pytest.raises(RefNotFoundError):
            lake.delete_branch("dev")
        with pytest.raises(RefNotFoundError):
            lake.protect("dev")

    def test_a_tag_never_moves(self, lake: Lake) -> None:
        first = publish(lake, PATH, ROWS).commit
        tag = lake.tag("v1", at=MAIN)
        assert (tag.name, tag.kind, tag.commit) == ("v1", "tag", first.id)
        publish(lake, PATH, MORE)
        assert lake.tag("v1", at=f"{MAIN}~1") == tag
        with pytest.raises(RefExistsError, match="Tags never move"):
            lake.tag("v1", at=MAIN)
        assert lake.resolve("v1") == first
        assert ids(lake, ref="v1") == [1, 2, 3]
        assert lake.tags() == (tag,)
        with pytest.raises(RefNotFoundError):
            lake.tag("v2", at="absent")

    @pytest.mark.parametrize("name", BAD_REFS, ids=lambda name: repr(name[:12]))
    def test_a_bad_name_is_refused(self, lake: Lake, name: str) -> None:
        with pytest.raises(InvalidNameError):
            lake.create_branch(name)
        with pytest.raises(InvalidNameError):
            lake.tag(name, at=MAIN)

    def test_a_name_that_a_commit_begins_with_would_hide_it_and_a_date_hides_none(self, lake: Lake) -> None:
        commit = publish(lake, PATH, ROWS).commit
        with pytest.raises(InvalidNameError, match=commit.id):
            lake.tag(commit.id[:8], at=MAIN)
        with pytest.raises(InvalidNameError, match=commit.id):
            lake.create_branch(commit.id[:12])
        assert lake.tag("20240101", at=MAIN) == lake.tag("20240101", at=MAIN)
        assert lake.resolve(commit.id[:8]) == commit

    def test_a_commit_is_found_by_id_prefix_and_by_steps_back(self, lake: Lake) -> None:
        commits = [publish(lake, PATH, ROWS.head(n)).commit for n in (1, 2, 3)]
        assert lake.resolve(commits[0].id) == commits[0]
        assert lake.resolve(commits[0].id[:12]) == commits[0]
        assert lake.resolve(f"{MAIN}~0") == commits[2]
        assert lake.resolve(f"{MAIN}~2") == commits[0]
        assert lake.resolve(f"{commits[2].id}~1") == commits[1]
        lake.tag("v1", at=commits[1].id)
        assert lake.resolve("v1~1") == commits[0]

    @pytest.mark.parametrize(
        "ref", ["absent", "0" * 64, "abc", f"{MAIN}~99", "", f"{MAIN}~", f"{MAIN}~x", "../x", "a b"]
    )
    def test_an_unknown_ref_is_an_error(self, lake: Lake, ref: str) -> None:
        for use in (lake.resolve, lake.at, lambda name: list(lake.log(name)), lambda name: lake.diff(MAIN, name)):
            with pytest.raises(RefNotFoundError):
                use(ref)

    def test_an_unknown_ref_names_near_misses(self, lake: Lake) -> None:
        lake.create_branch("experiment")
        with pytest.raises(RefNotFoundError, match="Did you mean 'experiment'"):
            lake.at("experimant")
