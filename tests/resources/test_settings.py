"""Settings come from the environment when asked for, and say what is wrong with them without repeating passwords."""

from pathlib import Path

import pytest

from headwater.features.errors import OnlineStoreError
from headwater.testing.online_suite import hour, publish, rows, toy
from resources.opening import open_online_store
from resources.settings import SettingsError, load_settings


def test_what_is_not_set_is_on_this_machine() -> None:
    found = load_settings({})
    assert (found.kafka, found.redis, found.postgres) == ("", "", "")


def test_each_option_has_one_setting() -> None:
    redis, postgres = "rediss://:secret@cache.example.org:6380/2", "postgresql://ada:secret@db.example.org/headwater"
    found = load_settings({"HEADWATER_REDIS": redis, "HEADWATER_POSTGRES": postgres, "HEADWATER_KAFKA": "a:9092"})
    assert (found.redis, found.postgres, found.kafka) == (redis, postgres, "a:9092")
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("HEADWATER_REDIS", "secret.example.org:6379", "redis:// or rediss:// or unix://"),
        ("HEADWATER_REDIS", "redis://", "redis://"),
        ("HEADWATER_REDIS_TIMEOUT", "soon", "Give seconds"),
        ("HEADWATER_REDIS_TIMEOUT", "-1", "Give seconds"),
        ("HEADWATER_ONLINE_LARGEST", "plenty", "Give GiB"),
        ("HEADWATER_ONLINE_LARGEST", "0", "Give GiB"),
        ("HEADWATER_ONLINE_LARGEST", "inf", "Give GiB"),
        ("HEADWATER_POSTGRES", "postgres://ada:secret@db", "postgresql://"),
    ],
)
def test_what_means_nothing_is_refused_and_no_url_repeated(variable: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match=remedy) as caught:
        load_settings({variable: value})
    assert variable in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_size_of_the_embedded_online_store_is_a_setting_that_its_error_names(tmp_path: Path) -> None:
    """It was full at 16 GiB, and its error asked for an option that nothing reached."""
    assert load_settings({}).online_largest == 16 * 2**30

    def fill(gibibytes: str) -> None:
        settings = load_settings({"HEADWATER_STATE": str(tmp_path), "HEADWATER_ONLINE_LARGEST": gibibytes})
        store = open_online_store(settings)
        try:
            publish(store, "toy", [toy(rows(*((f"p{n}", 1, 1, n) for n in range(20_000))))], commit="c", since=hour(0))
        finally:
            store.close()

    with pytest.raises(OnlineStoreError, match=r"it is full. Set HEADWATER_ONLINE_LARGEST to more GiB than 0\.001 "):
        fill("0.001")
    fill("0.1")
