"""Cron expressions: what is taken, what is refused by name, and the same times everywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.scheduling.cron import parse_cron
from jobs.scheduling.systemd import on_calendar
from schemas.errors import RecipeError

START = datetime(2026, 1, 1)  # a Thursday
EXAMPLES = [
    "0 2 * * *",
    "*/20 9-17 * * mon-fri",
    "0 2 1,15 * fri",
    "30 23 * * 5-7",
    "0 2 29 2 *",
    "5,6 */6 */2 * *",
    "0 0-20/5 1-10/3 jan-mar,dec *",
    "0 2 * * */2",
    "0 2 1-31 * mon",
]


def starts(text: str, days: int) -> list[datetime]:
    """All minutes at which it runs, by our own reading."""
    cron = parse_cron(text)
    return [
        datetime(day.year, day.month, day.day, hour, minute)
        for day in (START + timedelta(days=n) for n in range(days))
        if cron.fits(day.date())
        for hour in cron.hour.values
        for minute in cron.minute.values
        if datetime(day.year, day.month, day.day, hour, minute) > START
    ]


@pytest.mark.parametrize("text", EXAMPLES)
def test_it_runs_when_debian_s_cron_would(text: str) -> None:
    mine = starts(text, 3 * 366)[:40]
    theirs = CronSim(text, START)
    assert mine == [next(theirs) for _ in mine]
    assert mine


def field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    # cronsim reads 3-3/2 as 3/2, and that to the end
    ends = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1])
    span = st.tuples(ends, st.integers(1, 6)).map(lambda t: f"{t[0][0]}-{t[0][1]}/{t[1]}")
    some = st.lists(st.one_of(number.map(str), span), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), some)


@settings(max_examples=40, deadline=None)
@given(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7))
def test_every_expression_means_the_same_when_it_is_written_for_a_target(
    minute: str, hour: str, day: str, month: str, weekday: str
) -> None:
    text = f"{minute} {hour} {day} {month} {weekday}"
    written = parse_cron(text).text
    assert re.fullmatch(r"[0-9*,/ -]+", written)
    assert "7" not in re.split(r"[,/-]", written.split()[4])  # Kubernetes knows 0 to 6
    before, after = CronSim(text, START), CronSim(written, START)
    assert [next(before) for _ in range(3)] == [next(after) for _ in range(3)]


@pytest.mark.parametrize("text", EXAMPLES)
def test_systemd_runs_at_the_same_times(text: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: nothing else reads OnCalendar as systemd does")
    mine, found = starts(text, 3 * 366)[:6], set()
    for line in on_calendar(parse_cron(text), "UTC"):
        command = ["systemd-analyze", "calendar", "--iterations=6", f"--base-time={START}", line]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        times = re.findall(r"(?:elapse|Iter(?:ation|\.) #\d+): \w{3} (\S+ \S+) UTC", told)
        found |= {datetime.fromisoformat(time) for time in times}
    assert sorted(found)[: len(mine)] == mine


def test_on_calendar_says_both_days_on_two_lines() -> None:
    assert on_calendar(parse_cron("0 2 1,15 * fri-sun"), "Europe/Berlin") == [
        "*-*-01,15 02:00:00 Europe/Berlin",
        "Fri..Sun *-*-* 02:00:00 Europe/Berlin",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 2 * *", "has 4 fields"),
        ("0 0 2 * * *", "has 6 fields"),
        ("@daily", "write '0 0 \\* \\* \\*'"),
        ("@every 2h", "write its five fields"),
        ("60 2 * * *", "minute: '60': 60 is not in 0 to 59"),
        ("0 2 0 * *", "day of month: '0': 0 is not in 1 to 31"),
        ("0 22-2 * * *", "hour: '22-2' is backwards; write 22-23,0-2"),
        ("0 2 * * fri-mon", "backwards"),
        ("5/10 * * * *", "5-59/10 or \\*/10"),
        ("*/0 * * * *", "no step of 0"),
        ("0 2 L * *", "day of month: 'l' is not one of"),
        ("0 2 * * 1#2", "day of week: '1#2' is not one of"),
        ("0 2 ? * *", "is not one of"),
        ("0 2 * * mun", "did you mean mon"),
        ("0 2 * jun-xyz *", "there is no 'xyz'"),
        ("0 2 30 2 *", "there is no such day"),
        ("0 2 */2 * 1", "write the days out"),
        ("0 2 1 * */2", "write the days out"),
        ("0 2 * * 1,", "'' is not one of"),
        ("-1 2 * * *", "minute: '-1' is not one of"),
    ],
)
def test_what_a_target_would_not_take_is_refused_by_name_in_one_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as refused:
        parse_cron(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("0 2 * * *", 23), ("0 */6 * * *", 5), ("0 2 * * 0", 167), ("*/30 * * * *", 0.5)],
)
def test_the_shortest_gap_is_that_of_the_day_on_which_summer_time_begins(
    text: str, hours: float
) -> None:
    assert parse_cron(text).shortest_gap_s() == hours * 3600
