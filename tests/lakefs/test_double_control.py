"""The double answers lakeFS's REST API as lakeFS does, seen through lakeFS's own client."""

from pathlib import Path
from typing import Any

import lakefs_sdk
import pytest
import urllib3
from lakefs_sdk.client import LakeFSClient
from lakefs_sdk.exceptions import ApiException

from headwater.testing.lakefs_double import Drop, Fault, LakeFSDouble

REPOSITORY = "repo"


@pytest.fixture
def api(double: LakeFSDouble) -> Any:
    client = client_of(double)
    namespace = lakefs_sdk.RepositoryCreation(name=REPOSITORY, storage_namespace="mem://repo")
    client.repositories_api.create_repository(namespace)
    return client


def client_of(double: LakeFSDouble, *, secret: str = "") -> Any:
    configuration: Any = lakefs_sdk.Configuration(
        host=f"{double.endpoint}/api/v1", username=double.access_key, password=secret or double.secret_key
    )
    configuration.retries = False
    return LakeFSClient(configuration)


def refused(status: int) -> Any:
    """The answer is this error."""
    return pytest.raises(ApiException, match=rf"\({status}\)")


def branch(api: Any, name: str, source: str = "main") -> str:
    return api.branches_api.create_branch(REPOSITORY, lakefs_sdk.BranchCreation(name=name, source=source))


def write(api: Any, ref: str, path: str, text: str = "x", **more: Any) -> Any:
    return api.objects_api.upload_object(REPOSITORY, ref, path, content=text.encode(), **more)


def commit(api: Any, ref: str, message: str = "Commit", **more: Any) -> Any:
    wanted = lakefs_sdk.CommitCreation(message=message, **more)
    return api.commits_api.commit(REPOSITORY, ref, wanted)


def merge(api: Any, source: str, into: str = "main", **more: Any) -> str:
    return api.refs_api.merge_into_branch(REPOSITORY, source, into, merge=lakefs_sdk.Merge(**more)).reference


def read(api: Any, ref: str, path: str) -> str:
    return bytes(api.objects_api.get_object(REPOSITORY, ref, path)).decode()


def log(api: Any, ref: str = "main", **more: Any) -> list[str]:
    return [item.message for item in api.refs_api.log_commits(REPOSITORY, ref, **more).results]


def test_a_wrong_secret_is_refused(double: LakeFSDouble) -> None:
    with refused(401):
        client_of(double, secret="wrong").repositories_api.list_repositories()
    client_of(double, secret="wrong").health_check_api.health_check()


@pytest.mark.parametrize("name", ["ab", "Abc", "a_b", "-ab", "x" * 64])
def test_a_bad_repository_id_is_refused(double: LakeFSDouble, name: str) -> None:
    answer = urllib3.request(
        "POST",
        f"{double.endpoint}/api/v1/repositories",
        json={"name": name, "storage_namespace": "mem://other"},
        headers=urllib3.make_headers(basic_auth=f"{double.access_key}:{double.secret_key}"),
    )
    assert (answer.status, "invalid value" in answer.json()["message"]) == (400, True)


def test_a_repository_exists_once(api: Any) -> None:
    with refused(409):
        api.repositories_api.create_repository(
            lakefs_sdk.RepositoryCreation(name=REPOSITORY, storage_namespace="mem://other")
        )
    with refused(404):
        api.repositories_api.get_repository("absent")


@pytest.mark.parametrize("name", ["a/b", "a.b", "-a", "a b", "é"])
def test_a_bad_branch_id_is_refused(api: Any, name: str) -> None:
    with refused(400):
        branch(api, name)


def test_what_is_staged_is_seen_by_the_branch_only(api: Any) -> None:
    branch(api, "dev")
    write(api, "dev", "a/b", "staged")
    assert read(api, "dev", "a/b") == "staged"
    assert read(api, "dev$", "a/b") == "staged"
    for ref in ("dev@", "main"):
        with refused(404):
            read(api, ref, "a/b")
    made = commit(api, "dev", metadata={"k": "v"})
    assert read(api, made.id, "a/b") == read(api, "dev@", "a/b") == "staged"
    assert api.commits_api.get_commit(REPOSITORY, "dev").metadata == {"k": "v"}


def test_an_empty_commit_needs_permission(api: Any) -> None:
    branch(api, "dev")
    with refused(400):
        commit(api, "dev")
    write(api, "dev", "a")
    commit(api, "dev")
    write(api, "dev", "a")
    with refused(400):
        commit(api, "dev")
    assert commit(api, "dev", allow_empty=True).parents


def test_refs_are_expressions(api: Any) -> None:
    branch(api, "dev")
    ids = []
    for number in range(3):
        write(api, "dev", "a", str(number))
        ids.append(commit(api, "dev", f"Commit {number}").id)

    def resolve(ref: str) -> str:
        return api.commits_api.get_commit(REPOSITORY, ref).id

    assert [resolve(ref) for ref in ("dev", "dev~1", "dev~~", "dev^1", "dev^1~1", ids[2][:12])] == [
        ids[2], ids[1], ids[0], ids[1], ids[0], ids[2],
    ]  # fmt: skip
    for ref, status in (("dev~9", 404), ("dev^2", 400), ("dev@~1", 400), ("absent", 404), ("dev$", 400)):
        with refused(status):
            resolve(ref)


def test_a_merge_takes_what_one_side_changed_and_refuses_what_both_did(api: Any) -> None:
    write(api, "main", "same")
    write(api, "main", "ours")
    write(api, "main", "theirs")
    commit(api, "main")
    branch(api, "dev")
    write(api, "dev", "theirs", "dev")
    write(api, "dev", "both", "equal")
    commit(api, "dev")
    write(api, "main", "ours", "main")
    write(api, "main", "both", "equal")
    commit(api, "main")
    before = api.branches_api.get_branch(REPOSITORY, "main").commit_id
    made = merge(api, "dev", message="Merge", metadata={"k": "v"})
    assert [read(api, "main", name) for name in ("same", "ours", "theirs", "both")] == ["x", "main", "dev", "equal"]
    found = api.commits_api.get_commit(REPOSITORY, made)
    assert found.parents == [before, api.branches_api.get_branch(REPOSITORY, "dev").commit_id]
    assert found.metadata == {"k": "v", ".lakefs.merge.strategy": "default"}
    with refused(400):
        merge(api, "dev")


@pytest.mark.parametrize(("strategy", "winner"), [("source-wins", "dev"), ("dest-wins", "main")])
def test_a_strategy_decides_conflicts(api: Any, strategy: str, winner: str) -> None:
    write(api, "main", "both")
    write(api, "main", "gone")
    commit(api, "main")
    branch(api, "dev")
    for ref in ("dev", "main"):
        write(api, ref, "both", ref)
    api.objects_api.delete_object(REPOSITORY, "dev", "gone")
    write(api, "main", "gone", "main")
    commit(api, "dev")
    commit(api, "main")
    with refused(409):
        merge(api, "dev")
    merge(api, "dev", strategy=strategy)
    assert read(api, "main", "both") == winner
    assert api.objects_api.list_objects(REPOSITORY, "main").results[-1].path == (
        "both" if strategy == "source-wins" else "gone"
    )


def test_a_squash_merge_has_one_parent(api: Any) -> None:
    branch(api, "dev")
    write(api, "dev", "a")
    commit(api, "dev", "On dev")
    merge(api, "dev", message="Squash", squash_merge=True)
    assert log(api) == ["Squash", "Repository created"]


def test_a_dirty_destination_refuses_a_merge_and_the_staging_of_the_source_is_ignored(api: Any) -> None:
    branch(api, "dev")
    write(api, "dev", "a")
    commit(api, "dev")
    write(api, "dev", "later")
    write(api, "main", "dirt")
    with refused(400):
        merge(api, "dev")
    api.branches_api.reset_branch(REPOSITORY, "main", lakefs_sdk.ResetCreation(type="reset"))
    merge(api, "dev")
    assert [item.path for item in api.objects_api.list_objects(REPOSITORY, "main").results] == ["a"]


def test_protection_blocks_writes_and_commits_and_lets_merges_and_reverts_pass(api: Any) -> None:
    api.repositories_api.set_branch_protection_rules(REPOSITORY, [lakefs_sdk.BranchProtectionRule(pattern="ma*")])
    for refuse in (lambda: write(api, "main", "a"), lambda: commit(api, "main"),
                   lambda: api.branches_api.delete_branch(REPOSITORY, "main")):  # fmt: skip
        with refused(403):
            refuse()
    branch(api, "dev")
    write(api, "dev", "a")
    commit(api, "dev")
    made = merge(api, "dev")
    with refused(409):
        api.branches_api.revert_branch(REPOSITORY, "main", lakefs_sdk.RevertCreation(ref=made, parent_number=0))
    api.branches_api.revert_branch(REPOSITORY, "main", lakefs_sdk.RevertCreation(ref=made, parent_number=1))
    assert api.objects_api.list_objects(REPOSITORY, "main").results == []


def test_a_revert_of_what_changed_again_is_a_conflict(api: Any) -> None:
    write(api, "main", "a", "1")
    first = commit(api, "main")
    write(api, "main", "a", "2")
    commit(api, "main")
    with refused(409):
        api.branches_api.revert_branch(REPOSITORY, "main", lakefs_sdk.RevertCreation(ref=first.id, parent_number=1))


def test_tags_never_move(api: Any) -> None:
    api.tags_api.create_tag(REPOSITORY, lakefs_sdk.TagCreation(id="v1.0", ref="main"))
    with refused(409):
        api.tags_api.create_tag(REPOSITORY, lakefs_sdk.TagCreation(id="v1.0", ref="main"))
    with refused(400):
        api.tags_api.create_tag(REPOSITORY, lakefs_sdk.TagCreation(id="v 1", ref="main"))
    assert [item.id for item in api.tags_api.list_tags(REPOSITORY).results] == ["v1.0"]
    assert api.commits_api.get_commit(REPOSITORY, "v1.0").message == "Repository created"


def test_a_diff_is_three_dot_unless_told(api: Any) -> None:
    branch(api, "dev")
    write(api, "dev", "a", "dev")
    commit(api, "dev")
    write(api, "main", "b")
    commit(api, "main")

    def changes(**more: Any) -> list[tuple[str, str]]:
        found = api.refs_api.diff_refs(REPOSITORY, "main", "dev", **more).results
        return [(item.type, item.path) for item in found]

    assert changes() == [("added", "a")]
    assert changes(type="two_dot") == [("added", "a"), ("removed", "b")]
    assert changes(type="two_dot", prefix="b") == [("removed", "b")]
    page = api.refs_api.diff_refs(REPOSITORY, "main", "dev", type="two_dot", amount=1)
    assert (page.pagination.has_more, page.pagination.next_offset) == (True, "a")
    assert changes(type="two_dot", after="a") == [("removed", "b")]


def test_a_log_is_filtered_and_paged(api: Any) -> None:
    branch(api, "dev")
    for number in range(5):
        write(api, "dev", f"{'even' if number % 2 == 0 else 'odd'}/{number}")
        commit(api, "dev", f"Commit {number}")
    assert log(api, "dev", prefixes=["even/"]) == ["Commit 4", "Commit 2", "Commit 0"]
    assert log(api, "dev", objects=["odd/1"]) == ["Commit 1"]
    page = api.refs_api.log_commits(REPOSITORY, "dev", amount=2)
    assert page.pagination.has_more
    assert log(api, "dev", after=page.pagination.next_offset, amount=2) == ["Commit 2", "Commit 1"]
    merge(api, "dev", message="Merge")
    assert log(api, first_parent=True) == ["Merge", "Repository created"]
    assert len(log(api)) == 7


def test_a_listing_has_prefixes_and_pages(api: Any) -> None:
    for path in ("a/1", "a/2", "b", "c/d/e"):
        write(api, "main", path)

    def listed(**more: Any) -> list[tuple[str, str]]:
        found = api.objects_api.list_objects(REPOSITORY, "main", **more).results
        return [(item.path_type, item.path) for item in found]

    assert listed(delimiter="/") == [("common_prefix", "a/"), ("object", "b"), ("common_prefix", "c/")]
    assert listed(prefix="a/", amount=1) == [("object", "a/1")]
    assert listed(prefix="a/", after="a/1") == [("object", "a/2")]
    stat = api.objects_api.stat_object(REPOSITORY, "main", "b")
    assert (stat.size_bytes, stat.checksum) == (1, "9dd4e461268c8034f5c8564e155c67a6")


def test_conditional_uploads_are_refused_when_something_stands_there(api: Any) -> None:
    write(api, "main", "a", if_none_match="*")
    with refused(412):
        write(api, "main", "a", if_none_match="*")
    with refused(412):
        write(api, "main", "a", "y", if_match="other")


def test_collected_data_is_gone(api: Any, double: LakeFSDouble) -> None:
    write(api, "main", "a")
    double.store.collect(REPOSITORY, "main", "a")
    with refused(410):
        read(api, "main", "a")


def test_faults_hit_what_they_name_as_often_as_they_say(api: Any, double: LakeFSDouble) -> None:
    double.faults.add(Fault(method="GET", path="/branches/main", status=429, times=2, skip=1))
    api.branches_api.get_branch(REPOSITORY, "main")
    for _ in range(2):
        with refused(429):
            api.branches_api.get_branch(REPOSITORY, "main")
    api.branches_api.get_branch(REPOSITORY, "main")
    assert double.faults.hits == 2


def test_a_lost_answer_is_work_done(api: Any, double: LakeFSDouble) -> None:
    double.faults.add(Fault(method="POST", path="/branches$", drop=Drop.AFTER))
    with pytest.raises(Exception, match=r"(?i)aborted|reset|closed"):
        branch(api, "dev")
    assert api.branches_api.get_branch(REPOSITORY, "dev").id == "dev"
    double.faults.add(Fault(method="POST", path="/branches$", drop=Drop.BEFORE))
    double.faults.clear()


def test_the_state_survives_a_restart(api: Any, double: LakeFSDouble) -> None:
    write(api, "main", "a")
    double.stop()
    double.start()
    assert read(client_of(double), "main", "a") == "x"


def test_the_state_survives_in_a_folder(tmp_path: Path) -> None:
    with LakeFSDouble(folder=tmp_path) as first:
        api = client_of(first)
        wanted = lakefs_sdk.RepositoryCreation(name=REPOSITORY, storage_namespace="mem://repo")
        api.repositories_api.create_repository(wanted)
        write(api, "main", "a/b", "committed")
        made = commit(api, "main", metadata={"k": "v"})
        api.tags_api.create_tag(REPOSITORY, lakefs_sdk.TagCreation(id="v1", ref="main"))
        branch(api, "dev")
        write(api, "dev", "a/b", "staged")
        api.objects_api.delete_object(REPOSITORY, "main", "a/b")
        api.repositories_api.set_branch_protection_rules(REPOSITORY, [lakefs_sdk.BranchProtectionRule(pattern="main")])
    with LakeFSDouble(folder=tmp_path) as second:
        api = client_of(second)
        assert api.commits_api.get_commit(REPOSITORY, "v1").metadata == {"k": "v"}
        assert (read(api, made.id, "a/b"), read(api, "dev", "a/b")) == ("committed", "staged")
        with refused(404):
            read(api, "main", "a/b")
        with refused(403):
            write(api, "main", "a")
        assert log(api, "dev") == ["Commit", "Repository created"]
