"""Tables as strangers bring them: read as they are meant, with a word about what was understood, or refused in one line."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.kinds.series import open_series
from perrin.kinds.series.time_texts import written

pytest.importorskip("pandas")
DAYS = [datetime(2021, 1, 1) + timedelta(days=i) for i in range(40)]
HOURS = [datetime(2021, 1, 1) + timedelta(hours=i) for i in range(80)]
VALUES = [round(10 + 5 * np.sin(i) + 0.1 * i, 2) for i in range(80)]


def table(folder, times, header="date,x", separator=",", encoding="utf-8", cell=str, above="", below=""):
    rows = [f"{t}{separator}{cell(VALUES[i])}" for i, t in enumerate(times)]
    text = above + "\n".join([header, *rows]) + "\n" + below
    (folder / "a.csv").write_bytes(text.encode(encoding))
    return folder / "a.csv"


def read(path, **options):
    data = open_series(path, **options)
    return data.parts[0].window, " | ".join(data.description["notes"])


MONTHS = {"de": "Januar Februar März", "fr": "janvier février mars", "es": "enero febrero marzo"}


def named(language, link=" "):
    words = MONTHS[language].split()
    return [f"{d.day}{'.' if language == 'de' else ''}{link}{words[d.month - 1]}{link}{d.year}" for d in DAYS]


def ending(day):
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day not in (11, 12, 13) else 0, "th")


ODD_DAYS = {
    "3. Jan 2021": [f"{d.day}. {d:%b %Y}" for d in DAYS],
    "3.Jan.2021": [f"{d.day}.{d:%b.%Y}" for d in DAYS],
    "3. Januar 2021": named("de"),
    "3 janvier 2021": named("fr"),
    "3 de enero de 2021": named("es", " de "),
    "January 3rd, 2021": [f'"{d:%B} {d.day}{ending(d.day)}, {d.year}"' for d in DAYS],
    "Sun Jan 03 2021": [f"{d:%a %b %d %Y}" for d in DAYS],
    "Sonntag, 3. Jan. 2021": [f'"Sonntag, {d.day}. {d:%b}. {d.year}"' for d in DAYS],
    "03JAN2021": [f"{d:%d%b%Y}".upper() for d in DAYS],
    "2021-Jan-03": [f"{d:%Y-%b-%d}" for d in DAYS],
    "1/3/2021": [f"{d.month}/{d.day}/{d.year}" for d in DAYS],
    "03/01/2021": [f"{d:%d/%m/%Y}" for d in DAYS],
    "21-01-03": [f"{d:%y-%m-%d}" for d in DAYS],
    "2021-003": [f"{d:%Y-%j}" for d in DAYS],
    "44199": [44197 + i for i in range(40)],
    "'2021-01-03'": [f"'{d:%Y-%m-%d}'" for d in DAYS],
    "local midnight": [f"{d:%Y-%m-%d}T00:00:00{'+01:00' if i < 20 else '+02:00'}" for i, d in enumerate(DAYS)],
}  # fmt: skip


@pytest.mark.parametrize("case", ODD_DAYS)
def test_odd_days_are_read(tmp_path, case):
    window, _ = read(table(tmp_path, ODD_DAYS[case]))
    np.testing.assert_array_equal(window.times, np.array(DAYS, "datetime64[us]"))
    np.testing.assert_array_equal(window.values[0], VALUES[:40])


ODD_HOURS = {
    "2021/01/03 14h": [f"{d:%Y/%m/%d} {d.hour}h" for d in HOURS],
    "2021/01/03 14h00": [f"{d:%Y/%m/%d %Hh%M}" for d in HOURS],
    "03.01.2021 14 Uhr": [f"{d:%d.%m.%Y} {d.hour} Uhr" for d in HOURS],
    "1/3/2021, 2:00 PM": [f'"{d.month}/{d.day}/{d.year}, {int(d.strftime("%I"))}:00 {d:%p}"' for d in HOURS],
    "2021-01-03 2PM": [f"{d:%Y-%m-%d} {int(d.strftime('%I'))}{d:%p}" for d in HOURS],
    "20210103T140000Z": [f"{d:%Y%m%dT%H%M%S}Z" for d in HOURS],
    "202101031400": [f"{d:%Y%m%d%H%M}" for d in HOURS],
    "2021010314": [f"{d:%Y%m%d%H}" for d in HOURS],
    "Sun, 03 Jan 2021 14:00:00 +0000": [f'"{d:%a, %d %b %Y %H:%M:%S} +0000"' for d in HOURS],
    "Sun Jan 03 14:00:00 UTC 2021": [f"{d:%a %b %d %H:%M:%S} UTC {d.year}" for d in HOURS],
    "in a browser": [f"{d:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)" for d in HOURS],
    "an offset": [f"{d + timedelta(minutes=330):%Y-%m-%d %H:%M:%S}+05:30" for d in HOURS],
    "a zone": [f"{d:%Y-%m-%d %H:%M:%S} CET" for d in HOURS],
    "an interval": [f"{d:%d.%m.%Y %H:%M} - {d + timedelta(hours=1):%d.%m.%Y %H:%M}" for d in HOURS],
    "seconds": [1609459200 + 3600 * i for i in range(80)],
    "seconds with a fraction": [f"{1609459200 + 3600 * i}.000" for i in range(80)],
    "milliseconds": [1609459200_000 + 3_600_000 * i for i in range(80)],
}  # fmt: skip


@pytest.mark.parametrize("case", ODD_HOURS)
def test_odd_hours_are_read(tmp_path, case):
    window, _ = read(table(tmp_path, ODD_HOURS[case], "timestamp,x"))
    np.testing.assert_array_equal(window.times, np.array(HOURS, "datetime64[us]"))


def test_an_hour_of_24_is_midnight_of_the_next_day(tmp_path):
    ends = [f"{d - timedelta(hours=1):%Y-%m-%d} {(d.hour - 1) % 24 + 1:02d}:00" for d in HOURS[1:]]
    window, notes = read(table(tmp_path, ends))
    np.testing.assert_array_equal(window.times, np.array(HOURS[1:], "datetime64[us]"))
    assert "24:00 is taken for midnight of the next day" in notes


def test_words_that_may_be_weekdays_or_months_are_told_apart():
    assert written("mar 3 ago 2021").text == "3 Aug 2021"  # a martes
    assert written("Mar 03 2021 10:00").text == "03 Mar 2021 10:00"
    assert written("juin 2021").text == "Jun 2021"
    assert written("jui 2021").text == "jui 2021"  # of June or of July


def test_what_was_understood_is_said(tmp_path):
    for times, said in (
        (ODD_DAYS["21-01-03"], "read with the year first, as %y-%m-%d"),
        (ODD_DAYS["44199"], "days of a spreadsheet, counted from 1899-12-30"),
        (ODD_DAYS["local midnight"], "days by local midnight"),
        (ODD_HOURS["a zone"], "local times (CET), taken as they stand"),
        (ODD_HOURS["an offset"], "times were brought to UTC"),
        (ODD_HOURS["an interval"], "beginnings of intervals"),
    ):
        assert said in read(table(tmp_path, times))[1]


def test_two_columns_that_make_one_time_are_found(tmp_path):
    cases = {
        "year,month,day,x": ([f"{d.year},{d.month},{d.day}" for d in DAYS], DAYS),
        "Date,Time,x": ([f"{d:%d/%m/%Y},{d:%H:%M:%S}" for d in HOURS], HOURS),
        "date,hour,x": ([f"{d:%Y-%m-%d},{d.hour}" for d in HOURS], HOURS),
    }
    for header, (times, expected) in cases.items():
        window, notes = read(table(tmp_path, times, header))
        np.testing.assert_array_equal(window.times, np.array(expected, "datetime64[us]"))
        assert "times are made of the columns" in notes


ISO = [f"{d:%Y-%m-%d}" for d in DAYS]
NUMBERS = {
    "decimal commas": (lambda v: str(v).replace(".", ","), lambda v: v, "decimal commas"),
    "blanks between thousands": (
        lambda v: f"1\u202f{100 + v:.0f},5", lambda v: float(f"1{100 + v:.0f}.5"), "decimal commas",
    ),
    "euros": (lambda v: f"€ {v}", lambda v: v, ""),
    "dollars": (lambda v: f"USD {v}", lambda v: v, "'USD' left out"),
    "units": (lambda v: f"{v} kWh", lambda v: v, "'kWh' left out"),
    "per cent": (lambda v: f"+{v} %", lambda v: v, "5% is 5"),
    "millions": (lambda v: f"{v}M", lambda v: v * 1e6, "M taken as 1,000,000"),
    "lakhs": (lambda v: f"12,34,{100 + v:.0f}.5", lambda v: float(f"1234{100 + v:.0f}.5"), "thousands"),
    "an error": (lambda v: v if v > 9 else "#VALUE!", lambda v: v if v > 9 else np.nan, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_odd_numbers_are_read(tmp_path, case):
    cell, meant, said = NUMBERS[case]
    window, notes = read(table(tmp_path, ISO, "date;x", ";", cell=cell))
    np.testing.assert_allclose(window.values[0], [meant(v) for v in VALUES[:40]], rtol=1e-12)
    assert said in notes


def test_names_with_numbers_are_no_numbers(tmp_path):
    rows = [f"{t},shop {k},{k * i}" for i, t in enumerate(ISO) for k in (1, 2)]
    (tmp_path / "a.csv").write_text("date,who,x\n" + "\n".join(rows))
    assert read(tmp_path / "a.csv")[0].names == ("shop 1", "shop 2")


def test_what_spreadsheets_leave_in_a_file_does_no_harm(tmp_path):
    plain, _ = read(table(tmp_path, ISO))
    rows = "".join(f"{i},{t},{VALUES[i]},,\n" for i, t in enumerate(ISO))
    files = {
        "sep=,\nUnnamed: 0,date,x,Unnamed: 3,\n" + rows: "'Unnamed: 0' was left out: it numbers the rows",
        "Report of March\n\n,date,x,,\n" + rows + ",,,,\n,,,,\n": "2 empty rows were left out",
        "# by a tool\n# for all\nid,date,x\n" + rows: "'id' was left out",
        "n,date,x\n,,MW\n" + rows.replace(",,\n", "\n"): "holds units (MW)",
    }
    for text, said in files.items():
        (tmp_path / "a.csv").write_text("\ufeff" + text, encoding="utf-8")
        window, notes = read(tmp_path / "a.csv", columns=None if "n,date" not in text[:8] else ["x"])
        np.testing.assert_array_equal(window.values, plain.values)
        assert said in notes


def test_other_encodings_are_read_with_a_word(tmp_path):
    path = table(tmp_path, ISO, "Datum;Größe °C", ";", encoding="cp1252")
    window, notes = read(path)
    assert window.names == ("Größe °C",)
    assert "read as Windows-1252" in notes
    assert read(table(tmp_path, ISO, encoding="utf-16"))[0].names == ("x",)


def test_true_and_false_are_numbers_and_codes_of_missing_values_are_pointed_out(tmp_path):
    rows = "".join(f"{t},{VALUES[i] if i % 9 else -999},{i % 3 == 0}\n" for i, t in enumerate(ISO))
    (tmp_path / "a.csv").write_text("date,x,open\n" + rows)
    window, notes = read(tmp_path / "a.csv")
    np.testing.assert_array_equal(window.values[1], [float(i % 3 == 0) for i in range(40)])
    assert "column 'x' holds -999 in 5 rows, far from all others" in notes


REFUSED = {
    "two zones": (table, [f"{d:%Y-%m-%d %H:%M:%S} {'CET' if i < 40 else 'CEST'}" for i, d in enumerate(HOURS)],
                  "times of the zones CEST, CET; write offsets"),
    "half an offset": (table, [f"{d:%Y-%m-%d %H:%M:%S}{'+01:00' if i else ''}" for i, d in enumerate(HOURS)],
                       r"with and without an offset from UTC \(row 1 has none\)"),
    "an hour twice": (table, [f"2021-10-31 {h:02d}:00" for h in (0, 1, 2, 2, 3, 4, 5)],
                      r"duplicate times: rows 3 and 4 .*as when summer time ends .*frequency: 'h'"),
    "a total": (table, [*ISO[:39], "Total"], "row 40 'Total'; the other rows read as %Y-%m-%d"),
    "no dates": (table, ["spring", "summer", "autumn", "winter"], "'date' holds no times that can be read: row 1 'spring'"),
    "mixed": (table, [*[f"{d:%Y-%m-%d %H:%M}" for d in HOURS[:48]], *[f"{d:%Y-%m-%d %H:%M}" for d in DAYS[3:30]]],
              r"mixed frequencies: rows are 1 hour apart, and from row 49 \(2021-01-04\) on 1 day"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_times_that_mean_two_things_are_refused_in_one_line(tmp_path, case):
    make, times, message = REFUSED[case]
    with pytest.raises(PerrinError, match=message) as caught:
        open_series(make(tmp_path, times))
    assert "\n" not in str(caught.value)


FILES = {
    "no header": (f"{ISO[0]},1.5\n{ISO[1]},2\n", "the first line of .* holds numbers or dates"),
    "blanks": ("date x\n2021-01-01 1\n2021-01-02 2\n", "has one column, 'date x', with blanks in all cells"),
    "lying": ("country,1/22/20,1/23/20\nA,1,2\nB,2,3\n", "named by dates .*: turn the table round"),
    "a note": (
        f"date,x\n{ISO[0]},1\n{ISO[1]},closed\n{ISO[2]},2\n",
        "holds numbers, but not in row 2 'closed'",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_tables_that_are_none_are_refused_with_the_way_out(tmp_path, case):
    text, message = FILES[case]
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(PerrinError, match=message):
        open_series(tmp_path / "a.csv")


def test_the_blind_table_of_a_stranger(tmp_path):
    """An odd format of dates, gaps, and a column of text, all at once."""
    kept = [i for i in range(40) if i not in (5, 6, 20)]
    rows = [
        f"{DAYS[i].day}. {DAYS[i]:%b %Y};{str(VALUES[i]).replace('.', ',')};{'trocken' if i % 3 else 'Regen'}"
        for i in kept
    ]
    (tmp_path / "a.csv").write_bytes(("Datum;Last;Bemerkung\n" + "\n".join(rows)).encode("cp1252"))
    with pytest.raises(
        PerrinError, match=r"column 'Bemerkung' of .* holds text, such as 'Regen' in row 1; leave"
    ):
        open_series(tmp_path / "a.csv")
    window, notes = read(tmp_path / "a.csv", unusable="leave_out")
    assert window.names == ("Last",)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(window.values[0])), [5, 6, 20])
    assert "3 of 40 times have no row (2021-01-06, 2021-01-07" in notes
