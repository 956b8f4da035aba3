"""Profiles: batches equal the whole, a kept reference equals the frame it was made of, damage is noticed."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.drift import (
    ColumnKindError,
    DriftReport,
    ProfileFormatError,
    ProfileMismatchError,
    ReferenceProfile,
    UnsupportedColumnError,
    drift_statistics,
    profile,
    profile_batches,
    read_profile,
    report_frame,
    write_profile,
)
from headwater.drift._columns import ValueKind
from headwater.drift._combine import canonical
from headwater.drift._distribution import NumericProfile

ROW = st.fixed_dictionaries(
    {
        "real": st.one_of(st.none(), st.floats(width=64), st.sampled_from([0.0, -0.0, 1.5])),
        "narrow": st.one_of(st.none(), st.floats(width=32)),
        "count": st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**62), 2**62)),
        "label": st.one_of(st.none(), st.sampled_from(["", "a", "ä", "b"])),
        "flag": st.one_of(st.none(), st.booleans()),
        "day": st.one_of(st.none(), st.dates()),
    }
)
SCHEMA = {
    "real": pl.Float64, "narrow": pl.Float32, "count": pl.Int64, "label": pl.String, "flag": pl.Boolean, "day": pl.Date,
}  # fmt: skip


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def mixed(rows: int, seed: int = 0, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "normal": rng.normal(shift, size=rows),
            "rain": rng.gamma(1, size=rows) * (rng.random(rows) < 0.07 + shift / 10),
            "hour": rng.integers(0, 24, rows),
            "carrier": rng.choice(["AA", "B6", "UA", "DL"], rows),
            "gap": pl.Series(rng.normal(size=rows)).set(pl.Series(rng.random(rows) < 0.2), None),
        }
    )


@given(st.lists(ROW, max_size=60), st.lists(st.integers(1, 20), min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_batches_in_any_cut_give_the_profile_of_the_whole(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    batches, start = [], 0
    while start < len(rows):
        size = cuts[len(batches) % len(cuts)]
        batches.append(frame(rows[start : start + size]))
        start += size
    assert profile_batches([*batches, frame([])]).equals(profile(frame(rows)))


@given(st.lists(ROW, min_size=1, max_size=40), st.lists(ROW, min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_merging_is_the_same_both_ways_round(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> None:
    a, b = profile(frame(left)), profile(frame(right))
    assert a.merge(b).equals(b.merge(a))
    assert not a.merge(b).equals(a)


@given(st.lists(ROW, min_size=1, max_size=60))
@settings(max_examples=30, deadline=None)
def test_a_written_profile_is_read_back_to_the_last_bit(rows: list[dict[str, Any]]) -> None:
    kept = profile(frame(rows))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reference.parquet"
        write_profile(kept, file)
        assert read_profile(file).equals(kept)
        first = file.read_bytes()
        write_profile(read_profile(file), file)
        assert file.read_bytes() == first


@pytest.fixture
def both() -> tuple[pl.DataFrame, pl.DataFrame]:
    return mixed(8_000), mixed(5_000, seed=1, shift=0.6)


def test_a_kept_profile_gives_the_report_of_the_frames(both: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path) -> None:
    reference, current = both
    expected = drift_statistics(reference, current)
    assert expected.shifted
    write_profile(profile(reference), tmp_path / "reference.parquet")
    kept = read_profile(tmp_path / "reference.parquet")
    assert drift_statistics(kept, current) == expected
    assert drift_statistics(kept, profile_batches(current.iter_slices(700))) == expected


def test_every_form_of_the_rows_gives_one_report(both: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path) -> None:
    reference, current = both
    expected: DriftReport = drift_statistics(reference, current)
    current.write_parquet(tmp_path / "current.parquet")
    chunked = pl.concat(list(reference.iter_slices(999)), rechunk=False)
    assert drift_statistics(chunked, pl.scan_parquet(tmp_path / "current.parquet")) == expected
    assert drift_statistics(reference.to_arrow(), current.to_arrow()) == expected
    assert drift_statistics(reference.lazy(), current.sample(fraction=1, shuffle=True, seed=1), threads=3) == expected
    assert report_frame(drift_statistics(reference, current)).equals(report_frame(expected))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.lists(st.integers(-1, 7), min_size=1, max_size=12))
@settings(deadline=None)
def test_both_ranks_of_a_value_are_those_that_two_searches_find(values: list[int], at: list[int]) -> None:
    sample, asked = NumericProfile(kind=ValueKind.INTEGER, values=np.sort(values)), np.array(at)
    entries = np.arange(len(values))
    for one in (sample, canonical(sample)):
        below, up_to = one.around(asked)
        assert (below == one.below(asked)).all()
        assert (up_to == one.up_to(asked)).all()
        own = entries[: len(one.values)]
        below, up_to = one.around_entry(own)
        assert (below == one.below(one.values[own])).all()
        assert (up_to == one.up_to(one.values[own])).all()


def test_profiling_leaves_the_frame_as_it_was(both: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    # Sorting happens in place on a copy; a shared buffer would scramble the caller's rows.
    reference, _ = both
    first = reference.hash_rows().to_list()
    profile(reference)
    assert reference.hash_rows().to_list() == first


@pytest.mark.parametrize("points", [50, 1_000])
def test_a_compressed_profile_is_small_and_says_how_far_it_is_off(points: int) -> None:
    reference, current = mixed(20_000), mixed(20_000, seed=1, shift=0.3)
    small = profile(reference).compress(points)
    exact, rough = drift_statistics(reference, current), drift_statistics(small, current)
    for name in ("normal", "rain", "gap"):
        a, b = exact.column(name).ks, rough.column(name).ks
        assert a is not None
        assert b is not None
        assert len(small.columns[name].values) <= points  # type: ignore[union-attr]
        assert 0 < b.error <= 1.1 / points
        assert abs(a.statistic - b.statistic) <= b.error
    assert exact.column("carrier").psi == rough.column("carrier").psi
    # 24 distinct hours need no compression.
    assert exact.column("hour").psi == rough.column("hour").psi


def test_merged_compressed_profiles_keep_their_promise() -> None:
    parts = [mixed(5_000, seed=seed, shift=seed / 10) for seed in range(4)]
    current = mixed(9_000, seed=9, shift=0.2)
    merged: ReferenceProfile | None = None
    for part in parts:
        small = profile(part).compress(200)
        merged = small if merged is None else merged.merge(small)
    assert merged is not None
    exact, rough = drift_statistics(pl.concat(parts), current), drift_statistics(merged, current)
    for name in ("normal", "rain", "gap"):
        a, b = exact.column(name).ks, rough.column(name).ks
        assert a is not None
        assert b is not None
        assert abs(a.statistic - b.statistic) <= b.error < 0.02


def test_profiles_of_different_columns_do_not_merge() -> None:
    with pytest.raises(ProfileMismatchError, match=r"only the first has \['a'\], only the second has \['b'\]"):
        profile(pl.DataFrame({"a": [1]})).merge(profile(pl.DataFrame({"b": [1]})))


def test_batches_whose_column_changes_kind_do_not_merge() -> None:
    with pytest.raises(ColumnKindError, match="Column 'a' holds integer"):
        profile_batches([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": ["1"]})])


def test_a_batch_without_any_value_merges_with_every_kind() -> None:
    nothing = pl.DataFrame({"a": [None], "b": [None]}, schema={"a": pl.Null, "b": pl.Null})
    merged = profile_batches([nothing, pl.DataFrame({"a": [1.0], "b": ["x"]}), nothing])
    assert [column.nulls for column in merged.columns.values()] == [2, 2]
    assert [column.present for column in merged.columns.values()] == [1, 1]


def test_an_unsupported_column_is_named_when_profiled() -> None:
    with pytest.raises(UnsupportedColumnError, match="'a'"):
        profile(pl.DataFrame({"a": [[1]]}))


def test_a_reader_of_parquet_sees_plain_columns(tmp_path: Path) -> None:
    write_profile(profile(mixed(100)), tmp_path / "p.parquet")
    plain = pl.read_parquet(tmp_path / "p.parquet")
    assert plain.columns == ["column", "integer", "single", "double", "category", "rows"]
    assert plain.filter(pl.col("column") == "carrier")["rows"].sum() == 100


def test_a_file_that_is_no_profile_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    file.write_bytes(b"not parquet at all")
    with pytest.raises(ProfileFormatError, match="cannot be read"):
        read_profile(file)
    pl.DataFrame({"a": [1]}).write_parquet(file)
    with pytest.raises(ProfileFormatError, match="carries no profile metadata"):
        read_profile(file)
    with pytest.raises(FileNotFoundError):
        read_profile(tmp_path / "absent.parquet")


def test_a_truncated_or_newer_profile_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    write_profile(profile(mixed(2_000)), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProfileFormatError):
        read_profile(file)
    newer = {b"headwater.profile": json.dumps({"version": 99, "rows": 0, "columns": []}).encode()}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(newer), file)
    with pytest.raises(ProfileFormatError, match="version 99"):
        read_profile(file)


def test_a_damaged_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    write_profile(profile(mixed(5_000)), file)
    whole = bytearray(file.read_bytes())
    whole[200:12_000] = bytes(11_800)
    file.write_bytes(whole)
    with pytest.raises(ProfileFormatError, match="'normal' is damaged"):
        drift_statistics(read_profile(file), mixed(10))
