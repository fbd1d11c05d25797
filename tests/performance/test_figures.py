"""What the benchmarks make of what they measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import goals, plot, results, servers
from benchmarks.__main__ import main
from benchmarks.results import LESS, MORE, Figure, Results
from benchmarks.run import interleaved
from benchmarks.streams import percentile


def figure(*rounds: float, floor: tuple[float, ...] = (), **more: Any) -> Figure:
    given = {"case": "unary", "row": "a row", "server": "emulator", "measure": "throughput", "unit": "calls/s"}
    return Figure(**{**given, "better": MORE, **more}, rounds=rounds, floor=floor)


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians() -> None:
    measured = figure(10, 40, 90, floor=(10, 20, 100))

    assert measured.value == 40
    assert measured.ratio == 1.0  # of 1.0, 2.0 and 0.9; the medians' would be 2


def test_without_a_floor_there_is_no_ratio() -> None:
    assert figure(1).ratio is None
    assert figure(1, floor=(0.0,)).ratio is None


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (99, 99), (100, 100), (1, 1), (0, 1)], ids=lambda value: f"{value}"
)
def test_a_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_of_one_value_every_percentile_is_that() -> None:
    assert percentile([7.0], 99) == 7.0


def test_each_server_comes_once_a_round_and_another_one_first_in_each() -> None:
    asked: list[str] = []

    def measure(name: str) -> dict[str, float]:
        asked.append(name)
        return {"order": len(asked)}

    samples = interleaved(4, ("a", "b", "c"), measure)

    assert asked == ["a", "b", "c", "b", "c", "a", "c", "a", "b", "a", "b", "c"]
    assert samples["b"]["order"] == [2, 4, 9, 11]


def test_a_run_survives_json() -> None:
    run = results.here()
    run.figures += [figure(1.5, 2.5, floor=(3, 4)), figure(5, row="строка", better=LESS)]
    run.notes.append("npm: not at hand")

    assert results.from_json(results.to_json(run)) == run


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"figures": [{}]}', '{"unary": {"ratio": 1}}'])
def test_json_of_something_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="not the JSON of a run of these benchmarks"):
        results.from_json(text)


@pytest.mark.parametrize(
    ("before", "after", "better", "told"),
    [
        (100, 120, MORE, "+20 % better"),
        (100, 80, MORE, "-20 % worse"),
        (100, 80, LESS, "-20 % better"),
        (100, 103, LESS, "+3 %"),
        (0, 0, LESS, "0 %"),
        (0, 12, LESS, "worse"),
    ],
)
def test_a_change_says_whether_it_is_one_for_the_better(before: float, after: float, better: str, told: str) -> None:
    assert results.change(before, after, better) == told


def test_what_two_runs_have_in_common_is_compared() -> None:
    earlier = Results([figure(100, floor=(200,)), figure(1, row="gone")])
    later = Results([figure(150, floor=(200,)), figure(1, row="new")])

    _, line = results.compared(earlier, later)

    assert line[4:] == ["100 calls/s", "150 calls/s", "+50 % better", "0.50", "0.75", "+50 % better"]


def test_a_table_has_a_line_for_each_server_of_a_row() -> None:
    figures = [
        figure(10, floor=(20,)),
        figure(20, floor=(20,), server="bare"),
        figure(3, measure="cpu", unit="us", better=LESS),
    ]

    assert results.rows_of(figures) == [
        ["", "server", "throughput", "ratio", "cpu"],
        ["a row", "emulator", "10 calls/s", "0.50", "3 us"],
        ["a row", "bare", "20 calls/s", "1.00", ""],
    ]


def table_of(*figures: Figure) -> dict[str, list[str]]:
    return {line[0]: line[2:] for line in goals.table(Results(list(figures)))[1:]}


def test_a_goal_is_met_missed_or_not_measured() -> None:
    last = {"row": f"100 rules, last, {servers.EACH}"}
    met = table_of(
        figure(95, floor=(100,), **last),
        figure(200, floor=(100,), measure="cpu", better=LESS, **last),
        figure(17, case="burst", measure="failures", better=LESS),
    )

    assert met["unary, 100 rules, the last matching: to bare grpc.aio"] == ["0.95", "met", "0.50"]
    assert met["burst on one channel: failures"] == ["17", "missed", ""]
    assert met["streaming, chunks: to bare grpc.aio"] == ["-", "not measured", ""]


def test_many_rules_are_compared_with_one_in_the_same_rounds() -> None:
    many, one = (f"{name}, {servers.EACH}" for name in ("10,000 rules, last", "1 rule, first"))

    told = table_of(figure(9, 18, 30, row=many), figure(10, 20, 30, row=one))

    assert told["10,000 rules, the last matching: to 1 rule"] == ["0.90", "met", ""]


def test_the_bare_server_is_compared_with_an_emulator_on_uvloop_and_with_one_without() -> None:
    last: dict[str, Any] = {"row": f"100 rules, last, {servers.EACH}", "floor": (100.0,)}

    told = table_of(figure(110, **last), figure(80, server=servers.NO_UVLOOP, **last))

    assert told["unary, 100 rules, the last matching: to bare grpc.aio"][:2] == ["1.10", "met"]
    assert told["unary, without uvloop"][:2] == ["0.80", "missed"]


@pytest.mark.parametrize(
    ("shown", "first", "last"), [([1.0], 0.5, 2), ([0.0034, 7.0], 0.002, 10), ([1e-9, 1e9], 0.001, 1000)]
)
def test_a_scale_has_room_for_all_bars(shown: list[float], first: float, last: float) -> None:
    ticks = plot.ticks_for(shown)

    assert (ticks[0], ticks[-1]) == (first, last)
    assert 1 in ticks


def test_what_was_written_is_read_told_compared_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = results.here()
    run.figures += [figure(95, floor=(100,), row=f"100 rules, last, {servers.EACH}")]
    written, svg, png = (tmp_path / name for name in ("run.json", "run.svg", "run.png"))
    written.write_text(results.to_json(run), encoding="utf-8")

    assert main(["--read", str(written), "--compare", str(written), "--plot", str(svg)]) == 0
    told = capsys.readouterr().out
    assert main(["--read", str(written), "--markdown", "--plot", str(png)]) == 0
    markdown = capsys.readouterr().out

    assert "since 2" in told
    assert "| 100 rules, last, a core each | emulator | 95 calls/s | 0.95 |" in markdown
    assert "| unary, 100 rules, the last matching: to bare grpc.aio | >= 0.9 | 0.95 | met | |" in markdown
    assert "100 rules, last" in svg.read_text(encoding="utf-8")
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["unry"], "no such case: unry; there are start, unary"),
        (["--compare", "nowhere.json"], "nowhere.json"),
        (["--plot", "picture.gif"], "picture.gif is to end in .svg or .png"),
        (["--rounds", "0"], "0 is not 1 or more"),
        (["--engine", "rust"], "invalid choice: 'rust'"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_runs(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    assert said in capsys.readouterr().err
