"""Settings come from the environment when asked for, and say what is wrong with them without repeating passwords."""

import pytest

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
        ("HEADWATER_POSTGRES", "postgres://ada:secret@db", "postgresql://"),
    ],
)
def test_what_means_nothing_is_refused_and_no_url_repeated(variable: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match=remedy) as caught:
        load_settings({variable: value})
    assert variable in str(caught.value)
    assert "secret" not in str(caught.value)
