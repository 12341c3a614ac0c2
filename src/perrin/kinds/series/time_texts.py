"""Texts of times brought to one form before they are read: "3. Januar 2021", "Mon, Jan 3rd 2021", "2021/01/03 14h".

Words for months and weekdays of six languages, ordinals, clocks of twelve hours, zones, 24:00 and intervals are written
another way; which numbers are days and which are months is left to the reader (`timestamps`).
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

ENGLISH = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH_WORDS = (
    "january januar janvier enero gennaio janeiro januari", "february februar fevrier febrero febbraio fevereiro februari",
    "march marz maerz mars marzo marco maart mrt", "april avril abril aprile", "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho", "july juli juillet julio luglio julho", "august aout agosto augustus",
    "september septembre septiembre settembre setembro", "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro", "december dezember decembre diciembre dicembre dezembro",
)  # fmt: skip
WEEKDAYS = (
    "monday tuesday wednesday thursday friday saturday sunday",
    "montag dienstag mittwoch donnerstag freitag samstag sonntag", "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "lunes martes miercoles jueves viernes sabado domingo",
    "lunedi martedi mercoledi giovedi venerdi sabato domenica", "segunda terca quarta quinta sexta",
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
)  # fmt: skip
LINKS = {"de", "del", "di", "den", "der", "the", "of", "le", "um", "at"}
NAMED = f"(?:{'|'.join(ENGLISH)})"
CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?"
NONE = ""


class Written(NamedTuple):
    """A time in one form.

    Attributes:
        text: like "2021-01-03 14:00", "3 Jan 2021" or "03/01/2021", without zone.
        late: whether it is midnight at the end of the day that the text names (24:00).
        offset: minutes before UTC ("+01:00" is 60); None where it has none. zone: its name, "CET", or "".
        interval: whether it is the beginning of what the cell says.
    """

    text: str
    late: bool = False
    offset: int | None = None
    zone: str = NONE
    interval: bool = False


def written(cell: str) -> Written:
    """The form of one cell; texts that are no times come back as they are, or nearly."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?|\d*", cell) and "24:" not in cell:
        return Written(cell)
    text = cell.strip("'\"").replace("\N{EN DASH}", "-")
    text, interval = _beginning(text)
    text = _worded(re.sub(r"\s*\([^()]*\)$", "", text))
    text, offset, zone = _zone(text)
    text = _clock(text)
    late = bool(re.search(r"[T ]24:00(:00)?(\.0+)?$", text))
    if late:
        text = re.sub(r"24:00(:00)?(\.0+)?$", "00:00:00", text)
    return Written(_ordered(text), late, offset, zone, interval)


def _beginning(text: str) -> tuple[str, bool]:
    """The first half of "01.01.2021 00:00 - 01.01.2021 01:00"."""
    found = re.fullmatch(rf"(.*{CLOCK}) ?(?:-|to|bis) ?(?:.*\D)?{CLOCK}", text)
    return (found[1], True) if found else (text, False)


def _worded(text: str) -> str:
    """Months as Jan .. Dec; without weekdays, links ("de") and the endings of ordinals."""
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th|er|\u00ba|\u00b0|\.(?= ?[^\W\d_]))(?=\W|$)", "", text, flags=re.I)
    words = [(m, _month(m[0])) for m in re.finditer(r"[^\W\d_]+", text)]
    if not words:
        return text
    first, month = words[0]
    named = any(found for _, found in words[1:])
    if first.start() == 0 and _weekday(first[0]) and (month is None or named):
        text = re.sub(r"^[^\W\d_]+[.,]* *", "", text)

    def word(match: re.Match[str]) -> str:
        found = _month(match[1])
        return found or (NONE if match[1].lower() in LINKS else match[0])

    return re.sub(r"\s+", " ", re.sub(r"([^\W\d_]+)\.?", word, text)).strip()


def _plain(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word.lower())
    return "".join(c for c in letters if not unicodedata.combining(c))


def _month(word: str) -> str | None:
    """The month that a word of three letters or more begins or is; "jui" may be two."""
    key = _plain(word)
    if len(key) < 3:
        return None
    if key == "sept":
        return "Sep"
    found = [
        name
        for name, words in zip(ENGLISH, MONTH_WORDS, strict=True)
        if any(w.startswith(key) for w in words.split())
    ]
    return found[0] if len(found) == 1 else None


def _weekday(word: str) -> bool:
    key = _plain(word)
    return len(key) >= 2 and any(day.startswith(key) for days in WEEKDAYS for day in days.split())


def _zone(text: str) -> tuple[str, int | None, str]:
    """(text without zone, minutes, name); only a time with a clock has one."""
    if not re.search(r"\d:\d\d|\dT\d{4}", text):
        return text, None, NONE
    found = re.search(r" ?(?:(?:UTC|GMT)?([+-])(\d{1,2}):?(\d\d)?|\b(?:Z|UTC|GMT))( \d{4})?$|(?<=\d)Z$", text)
    if found and (found[1] or re.search(r"Z|UTC|GMT", found[0])):
        sign = -1 if found[1] == "-" else 1
        offset = sign * (60 * int(found[2]) + int(found[3] or 0)) if found[1] else 0
        return text[: found.start()] + (found[4] or NONE), offset, NONE
    found = re.search(r" ([A-Z]{3,5}|[A-Z][a-z]+/[A-Z]\w+)( \d{4})?$", text)
    if found and _month(found[1]) is None:
        return text[: found.start()] + (found[2] or NONE), None, found[1]
    return text, None, NONE


def _clock(text: str) -> str:
    """Clocks as 14:00 or 14:00:05: from 2 PM, 14h, 14h00, 14 Uhr, 140000 after a T, or after a comma."""
    text = re.sub(rf"({CLOCK}) ?(?:h|hrs?|Uhr)\.?$", r"\1", text, flags=re.I)
    text = re.sub(r"(?<=[\sT,])(\d{1,2}) ?(?:h|hrs?|Uhr)\.?$", r"\1:00", text, flags=re.I)
    text = re.sub(r"(?<=[\sT,])(\d{1,2}) ?h ?(\d\d)$", r"\1:\2", text, flags=re.I)
    text = re.sub(
        r"^(\d{4})(\d\d)(\d\d)[T ](\d\d)(\d\d)(\d\d)?$",
        lambda m: f"{m[1]}-{m[2]}-{m[3]} {m[4]}:{m[5]}:{m[6] or '00'}",
        text,
    )
    text = re.sub(
        r"\b(\d{1,2})((?::\d\d){0,2}(?:\.\d+)?) ?([ap])\.?m\b\.?",
        lambda m: f"{int(m[1]) % 12 + 12 * (m[3] in 'pP'):02d}{m[2] or ':00'}",
        text,
        flags=re.I,
    )
    return re.sub(r"(?<=\d),? +(?=\d{1,2}:)", " ", text)


def _ordered(text: str) -> str:
    """The day before the month's name, the year after it, the clock last, with blanks between them."""
    text = re.sub(rf"[ ./-]*({NAMED})(?![a-z])[ ./-]*", r" \1 ", text).strip()
    text = re.sub(rf"({NAMED}) (\d\d?) ({CLOCK}) (\d{{4}})", r"\2 \1 \4 \3", text)
    text = re.sub(rf"^({NAMED}) (\d\d?)(?:, ?| )'?(\d{{4}}|\d\d)(?= |$)", r"\2 \1 \3", text)
    return re.sub(rf"({NAMED} \d{{4}}):(?=\d\d:)", r"\1 ", text)
