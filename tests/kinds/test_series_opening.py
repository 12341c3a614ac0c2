"""Tables of time series as people write them: understood and said so, or refused with the row."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.kinds.series import open_series
from perrin.kinds.series.frequency import Frequency

pytest.importorskip("pandas")
DAYS = [f"2020-01-{d:02d}" for d in range(1, 29)]


def write(folder, header, rows, name="a.csv", separator=","):
    lines = [separator.join(map(str, row)) for row in [header, *rows]]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def daily(folder, times=DAYS, **options):
    return write(folder, ["date", "a"], [[t, i % 7 + 0.5] for i, t in enumerate(times)], **options)


def dates(data):
    return data.parts[0].window.times.astype("datetime64[D]").astype(str).tolist()


# ---- times


FORMATS = {
    "%d/%m/%Y": "14/01/2020", "%m/%d/%Y": "01/14/2020", "%d.%m.%Y": "14.01.2020", "%Y%m%d": "20200114",
    "%d-%b-%Y": "14-Jan-2020", "%B %d, %Y": "January 14, 2020", "%Y/%m/%d": "2020/01/14",
    "%A, %d %B %Y": "Tuesday, 14 January 2020",
    "%d.%m.%y": "14.01.20", "%Y-%m-%d %H:%M:%S": "2020-01-14 00:00:00", "%Y-%m-%dT%H:%M": "2020-01-14T00:00",
    "%d/%m/%Y %I:%M %p": "14/01/2020 12:00 AM",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_odd_formats_are_read(tmp_path, form):
    from datetime import date, datetime, timedelta

    start = datetime.combine(date(2020, 1, 1), datetime.min.time())
    times = [(start + timedelta(days=i)).strftime(form) for i in range(28)]
    assert times[13] == FORMATS[form]
    data = open_series(daily(tmp_path, times, separator=";"))
    assert dates(data) == DAYS
    assert data.frequency == Frequency("microseconds", 864 * 10**8)


@pytest.mark.parametrize(
    ("times", "frequency", "third"),
    [
        (["2020-01", "2020-02", "2020-03", "2020-04"], Frequency("months", 1), "2020-03-01"),
        (["2020Q1", "2020Q2", "2020Q3", "2020Q4"], Frequency("months", 3), "2020-07-01"),
        (["1998", "1999", "2000", "2001"], Frequency("months", 12), "2000-01-01"),
        (["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"], Frequency("months", 1), "2020-03-31"),
        (
            ["2020-W01", "2020-W02", "2020-W03", "2020-W04"],
            Frequency("microseconds", 7 * 864 * 10**8),
            "2020-01-13",
        ),
        (
            ["1577836800", "1577923200", "1578009600", "1578096000"],
            Frequency("microseconds", 864 * 10**8),
            "2020-01-03",
        ),
    ],
    ids=["months", "quarters", "years", "ends of months", "weeks", "seconds"],
)
def test_months_quarters_years_weeks_and_seconds_are_read(tmp_path, times, frequency, third):
    data = open_series(daily(tmp_path, times))
    assert data.frequency == frequency
    assert dates(data)[2] == third


def test_days_and_months_that_may_be_exchanged_are_settled_by_what_goes_forward_or_refused(tmp_path):
    week = [f"{d:02d}/03/2020" for d in range(1, 13)]  # every one is a day of two months
    data = open_series(daily(tmp_path, [*week[3:8]]), day_first=True)
    assert dates(data)[0] == "2020-03-04"
    with pytest.raises(PerrinError, match=r"'04/03/2020' may be 2020-03-04 or 2020-04-03; write day_first"):
        open_series(daily(tmp_path, week[3:8]))
    jumping = ["10/01/2020", "11/01/2020", "12/01/2020", "01/02/2020", "02/02/2020"]
    with pytest.raises(PerrinError, match="day_first"):  # neither reading is even
        open_series(daily(tmp_path, jumping))
    months = [
        "01/11/2019",
        "01/12/2019",
        "01/01/2020",
        "01/02/2020",
    ]  # with the month first: two days, a year, two days
    data = open_series(daily(tmp_path, months))
    assert dates(data)[2] == "2020-01-01"
    assert "with the day first" in data.description["notes"][0]


def test_zones_are_brought_to_utc_and_two_columns_make_one(tmp_path):
    times = [f"2020-01-01T{h:02d}:00:00+02:00" for h in range(6)]
    assert open_series(daily(tmp_path, times)).parts[0].window.times[0] == np.datetime64(
        "2019-12-31T22:00:00"
    )
    path = write(tmp_path, ["date", "hour", "a"], [["2020-01-01", h, h] for h in range(6)])
    data = open_series(path, time="date+hour")
    assert str(data.frequency) == "1 hour"
    assert data.description["columns"] == ["a"]


def test_a_table_without_times_has_numbered_rows_and_says_so(tmp_path):
    data = open_series(write(tmp_path, ["a", "b"], [[i, i * i] for i in range(9)]))
    assert data.frequency == Frequency("rows")
    assert data.description["notes"] == ["no column of times: rows are numbered in the order of the file"]


def test_gaps_become_missing_values_and_trading_days_stay_as_they_are(tmp_path):
    data = open_series(daily(tmp_path, [*DAYS[:5], *DAYS[8:]]))
    assert dates(data) == DAYS
    assert np.isnan(data.parts[0].window.values[0]).nonzero()[0].tolist() == [5, 6, 7]
    assert "3 of 28 times have no row (2020-01-06" in data.description["notes"][-1]
    trading = [d for d in DAYS if np.is_busday(np.datetime64(d)) and d != "2020-01-20"]  # a holiday
    data = open_series(daily(tmp_path, trading))
    assert dates(data) == trading
    assert data.frequency == Frequency("business days")
    ahead = data.frequency.after(np.datetime64("2020-01-31"), 2)  # a Friday
    assert ahead.astype("datetime64[D]").astype(str).tolist() == ["2020-02-03", "2020-02-04"]


@pytest.mark.parametrize(
    ("frequency", "start"),
    [(Frequency("rows", 2), 7), (Frequency("months", 3), "2020-01-31"), (Frequency("business days"), "2020-01-31"),
     (Frequency("microseconds", 36 * 10**8), "2020-01-31T05:00")],
    ids=str,
)  # fmt: skip
def test_what_comes_before_is_what_comes_after_it_turned_round(frequency, start):
    first = start if isinstance(start, int) else np.datetime64(start, "us")
    earlier = frequency.before(first, 5)
    again = frequency.after(earlier[0], 5)
    np.testing.assert_array_equal(again, [*earlier[1:], first])


def test_the_end_of_a_month_stays_one():
    after = (
        Frequency("months").after(np.datetime64("2020-01-31"), 3).astype("datetime64[D]").astype(str).tolist()
    )
    assert after == ["2020-02-29", "2020-03-31", "2020-04-30"]
    after = (
        Frequency("months").after(np.datetime64("2020-01-30"), 2).astype("datetime64[D]").astype(str).tolist()
    )
    assert after == ["2020-02-29", "2020-03-30"]


BAD_TIMES = {
    "duplicate": ([*DAYS[:3], DAYS[2], *DAYS[3:]], r"duplicate times: rows 3 and 4 \(2020-01-03"),
    "unsorted": ([DAYS[0], DAYS[2], DAYS[1], *DAYS[3:]], r"not in the order of time: row 3 \(2020-01-02.*after 2020-01-03"),
    "newest first": (DAYS[::-1], "the newest first: row 2"),
    "mixed": ([f"2020-01-01 {h:02d}:00" for h in range(24)] + [f"{d} 00:00" for d in DAYS[1:25]],
              r"mixed frequencies: rows are 1 hour apart, and from row 25 .* on 1 day"),
    "irregular": (["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00", "2020-01-01 02:37", "2020-01-01 03:00",
                   "2020-01-01 04:00", "2020-01-01 05:00"], "is irregular: most rows are 1 hour apart, but row 4"),
    "no time": ([*DAYS[:6], "", *DAYS[7:]], "has no time in 1 rows: row 7"),
    "text": ([*DAYS[:20], "about noon", *DAYS[21:]], "row 21 'about noon'; the other rows read as %Y-%m-%d"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TIMES)
def test_bad_times_are_refused_with_their_rows(tmp_path, case):
    times, message = BAD_TIMES[case]
    with pytest.raises(PerrinError, match=message):
        open_series(daily(tmp_path, times))


def test_the_advice_of_refusals_works(tmp_path):
    sorted_now = open_series(daily(tmp_path, DAYS[::-1]), order="sort")
    assert dates(sorted_now) == DAYS
    assert sorted_now.parts[0].window.values[0, 0] == 27 % 7 + 0.5
    mixed = open_series(daily(tmp_path, BAD_TIMES["mixed"][0]), frequency="D")
    assert str(mixed.frequency) == "1 day"
    assert mixed.parts[0].window.values[0, 0] == pytest.approx(np.mean([i % 7 + 0.5 for i in range(24)]))


# ---- numbers


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,234.5", "2,000,000.25", "3"], [1234.5, 2000000.25, 3]),
        (["1.234,5", "2,25", "3"], [1234.5, 2.25, 3]),
        (["1 234,5", "2\u202f000,5", "3"], [1234.5, 2000.5, 3]),
        (["$1.5", "(2.5)", "\u22123"], [1.5, -2.5, -3]),
        (["5%", "n/a", "7 %"], [5, np.nan, 7]),
        (["1e3", "NULL", "-2.5E-1"], [1000, np.nan, -0.25]),
        (["1,234", "12.5", "2"], [1234, 12.5, 2]),
    ],
)
def test_numbers_of_all_countries_are_read(tmp_path, cells, expected):
    rows = [[DAYS[i], f'"{cell}"'] for i, cell in enumerate(cells)]
    values = open_series(write(tmp_path, ["date", "a"], rows)).parts[0].window.values[0]
    np.testing.assert_array_equal(values, expected)


def test_numbers_that_may_be_read_in_two_ways_are_not_guessed(tmp_path):
    path = write(tmp_path, ["date", "a"], [[DAYS[i], f'"{i + 1},234"'] for i in range(9)])
    with pytest.raises(
        PerrinError, match=r"column 'a': '1,234', .* may be thousands or decimals; write decimal"
    ):
        open_series(path)
    assert open_series(path, decimal=".").parts[0].window.values[0, 1] == 2234
    assert open_series(path, decimal=",").parts[0].window.values[0, 1] == 2.234
    path = write(tmp_path, ["date", "a"], [[DAYS[0], '"1,5"'], [DAYS[1], "2.5"]])
    with pytest.raises(PerrinError, match=r"decimal commas \(1,5\) and decimal points \(2.5\)"):
        open_series(path)


UNUSABLE = {"text": "wet", "constant": "4.0", "empty": ""}


@pytest.mark.parametrize("what", UNUSABLE)
def test_columns_that_cannot_be_used_are_named_and_refused_or_left_out(tmp_path, what):
    path = write(tmp_path, ["date", "a", "b"], [[t, i, UNUSABLE[what]] for i, t in enumerate(DAYS)])
    reason = {"text": "holds text, such as 'wet' in row 1", "constant": "is constant: every value is 4",
              "empty": "has no value at all"}[what]  # fmt: skip
    with pytest.raises(
        PerrinError, match=f"column 'b' of .* {reason}; leave it out with unusable: leave_out"
    ):
        open_series(path)
    data = open_series(path, unusable="leave_out")
    assert data.description["columns"] == ["a"]
    assert data.description["left_out"] == ["b"]
    assert any(reason in note for note in data.description["notes"])
    assert open_series(path, columns=["a"]).description["columns"] == ["a"]


def test_text_among_numbers_is_refused_with_its_row(tmp_path):
    for cell in ("1 2", "12 34", "1,2,3"):  # spaces and commas that separate no thousands
        rows = [[t, f'"{cell}"' if i == 4 else i] for i, t in enumerate(DAYS)]
        with pytest.raises(PerrinError, match=f"row 5 '{cell}'"):
            open_series(write(tmp_path, ["date", "a"], rows))
    rows = [[t, "broken" if i == 4 else "inf" if i == 6 else i] for i, t in enumerate(DAYS)]
    with pytest.raises(
        PerrinError, match=r"column 'a' of .* holds numbers, but not in row 5 'broken', row 7 'inf'"
    ):
        open_series(write(tmp_path, ["date", "a"], rows))


# ---- tables


def test_long_and_wide_tables_are_the_same_series(tmp_path):
    wide = open_series(write(tmp_path, ["date", "x", "y"], [[t, i, i * i] for i, t in enumerate(DAYS)]))
    rows = [[t, name, value] for i, t in enumerate(DAYS) for name, value in (("x", i), ("y", i * i))]
    long = open_series(write(tmp_path, ["date", "who", "value"], rows, "b.csv"))
    assert long.parts[0].window.names == wide.parts[0].window.names == ("x", "y")
    np.testing.assert_array_equal(long.parts[0].window.values, wide.parts[0].window.values)
    apart = open_series(tmp_path / "b.csv", joint=False)
    assert [part.window.series for part in apart.parts] == ["x", "y"]
    alone = open_series(tmp_path / "a.csv", joint=False)
    assert [(part.window.series, part.window.names) for part in alone.parts] == [
        ("x", ("value",)),
        ("y", ("value",)),
    ]


def test_series_have_labels_and_static_features(tmp_path):
    rows = [[t, name, i * size, kind, size] for name, kind, size in (("x", "shop", 1), ("y", "mill", 3), ("z", "shop", 2))
            for i, t in enumerate(DAYS)]  # fmt: skip
    path = write(tmp_path, ["date", "who", "value", "label", "size"], rows)
    data = open_series(path, series="who", static=["size"])
    assert data.classes == ["mill", "shop"]
    assert [data[i]["label"] for i in range(3)] == [1, 0, 1]
    assert [data[i]["value"].static.tolist() for i in range(3)] == [[1], [3], [2]]
    words = open_series(path, series="who", static=["label"], columns=["value"])
    assert words[1]["value"].static.tolist() == [1, 0]
    rows[5][4] = 99
    with pytest.raises(PerrinError, match="column 'size' changes within series 'x'"):
        open_series(
            write(tmp_path, ["date", "who", "value", "label", "size"], rows), series="who", static=["size"]
        )


def test_gzip_parquet_and_byte_order_marks_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    plain = open_series(daily(tmp_path))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes()))
    held = pandas.read_csv(tmp_path / "a.csv", parse_dates=["date"])
    pytest.importorskip("pyarrow")
    held.to_parquet(tmp_path / "c.parquet")
    for name in ("b.csv.gz", "c.parquet"):
        data = open_series(tmp_path / name)
        assert data.description["sha256"] == plain.description["sha256"]


FILES = {
    "missing": (None, "no file"),
    "empty": ("", "is empty"),
    "header alone": ("date,a\n", "has no rows below its header"),
    "ragged": ("date,a\n2020-01-01,1\n2020-01-02,2,3\n", "line 3 has 3 cells, its header 2"),
    "twice": ("date,a,a\n2020-01-01,1,2\n", "2 columns called 'a'"),
    "no header": ("1,2\n3,4\n", "the first line of .* holds numbers"),
    "one row": ("date,a\n2020-01-01,1\n", "has one row"),
    "no numbers": ("date\n2020-01-01\n2020-01-02\n", "has no column of numbers beside date"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_tables_are_refused(tmp_path, case):
    content, message = FILES[case]
    if content is not None:
        (tmp_path / "a.csv").write_text(content)
    with pytest.raises(PerrinError, match=message):
        open_series(tmp_path / "a.csv")


def test_names_that_are_not_there_are_refused_with_the_nearest(tmp_path):
    path = daily(tmp_path)
    for options, message in (
        ({"columns": ["b"]}, "'b' is not known"),
        ({"time": "dates"}, "did you mean 'date'"),
        ({"order": "sorted"}, "did you mean 'sort'"),
        ({"frequency": "fortnight"}, "frequency 'fortnight' is none"),
    ):
        with pytest.raises(PerrinError, match=message):
            open_series(path, **options)


@pytest.mark.parametrize(
    ("name", "shape", "frequency"),
    [
        ("ETTh1", (7, 17_420), "1 hour"),
        ("exchange_rate", (8, 7_588), "1 rows"),
        ("wti-daily", (1, 10_226), "1 business days"),
        ("covid19-key-countries-pivoted", (8, 816), "1 day"),
        ("stocks-daily", (2, 2_305), "1 business days"),
    ],
)
def test_real_tables_open_without_a_word(sample_data, name, shape, frequency):
    data = open_series(sample_data(f"timeseries/{name}.csv.gz"))
    assert data.parts[0].window.shape == shape
    assert str(data.frequency) == frequency
