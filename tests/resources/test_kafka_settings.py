"""Settings of the Kafka client from a file, against a broker: they reach it, and what is wrong with them is said without them."""

from pathlib import Path

import polars as pl
import pytest

from headwater.streams import KafkaLog, StreamSource
from headwater.streams.errors import EventLogError
from resources.opening import open_event_log
from resources.settings import Settings, SettingsError, load_settings
from tests.streams.kafka import cluster

SOURCE = StreamSource(path="toy/taps", columns={"at": pl.Datetime("us", "UTC"), "card": pl.String}, event_time="at", id=("card",))  # fmt: skip


def settings_of(tmp_path: Path, servers: str, text: str) -> Settings:
    file = tmp_path / "kafka.properties"
    file.write_text(text)
    return load_settings(
        {"HEADWATER_STATE": str(tmp_path), "HEADWATER_KAFKA": servers, "HEADWATER_KAFKA_SETTINGS": str(file)}
    )


def test_a_file_of_properties_reaches_the_client(tmp_path: Path) -> None:
    with cluster() as broker:
        broker.make_topic("toy.taps")
        plain = "# of the broker of the tests\nsecurity.protocol = PLAINTEXT\nclient.id=head=water\n"
        log = open_event_log(settings_of(tmp_path, broker.servers, plain), SOURCE)
        assert isinstance(log, KafkaLog)
        assert log.append([b"{}"], partition=0) == (0,)
        log.close()
        wanted = settings_of(tmp_path, broker.servers, "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n")
        with pytest.raises(EventLogError, match="sasl"):  # librdkafka asks for the name that is missing
            open_event_log(wanted, SOURCE)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match=r"security\.protocoll"):
        open_event_log(settings_of(tmp_path, "127.0.0.1:9", "security.protocoll=SSL\n"), SOURCE)


@pytest.mark.parametrize("text", ["sasl.password hunter2\n", "[client]\nsasl.password hunter2\n"])
def test_a_file_that_is_none_is_said_without_its_lines(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="HEADWATER_KAFKA_SETTINGS") as caught:
        open_event_log(settings_of(tmp_path, "127.0.0.1:9", text), SOURCE)
    assert "hunter2" not in str(caught.value)
    assert "name=value" in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "127.0.0.1:9", "")
    (tmp_path / "kafka.properties").unlink()
    with pytest.raises(SettingsError, match=r"kafka\.properties: No such file"):
        open_event_log(settings, SOURCE)
