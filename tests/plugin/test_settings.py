"""What the emulator of a test is like: options of the ini file, markers over them, fixtures from many places."""

from __future__ import annotations

import pytest

from .conftest import Run

pytest_plugins = ["pytester"]

ASK = """
import pytest

def ask(e, question="Привет!", **more):
    return e.sdk(**more).models.completions("yandexgpt").run(question).text
"""
ONE = "rules:\n- reply: {text: один}\n"
TWO = "rules:\n- reply: {text: два}\n"


def test_ini_options_hold_for_every_test(run: Run) -> None:
    ini = """fm_emulator_fixtures =
  shared/one.yaml
  more
fm_emulator_strict = true
fm_emulator_seed = 7
fm_emulator_now = 2026-01-31T12:00:00Z
fm_emulator_frozen = true
fm_emulator_speed = 60
fm_emulator_lenient = true
fm_emulator_quotas = real
fm_emulator_chaos = 0.25
fm_emulator_immediate = false
"""
    test = """
def test_it(fm_emulator):
    config = fm_emulator.config
    assert (config.strict, config.lenient, config.immediate, config.frozen) == (True, True, False, True)
    assert (config.seed, config.speed, config.quotas, config.chaos) == (7, 60.0, "real", 0.25)
    assert str(fm_emulator.clock.now) == "2026-01-31 12:00:00+00:00"
    assert [rule.file for rule in fm_emulator.book.rules] == ["shared/one.yaml", "more/two.yaml"]
"""
    files = {"shared/one.yaml": ONE, "more/two.yaml": TWO}
    run(ASK + test, ini=ini, beside=files).assert_outcomes(passed=1)


def test_the_engine_is_an_ini_option(run: Run) -> None:
    test = "def test_it(fm_emulator): assert (fm_emulator.config.engine, ask(fm_emulator)[:3]) == ('ENGINE', 'Вы ')"
    for engine in ("grpc.aio", "native"):
        run(ASK + test.replace("ENGINE", engine), ini=f"fm_emulator_engine = {engine}").assert_outcomes(passed=1)
    refused = run(ASK + test, ini="fm_emulator_engine = go")
    refused.assert_outcomes(errors=1)
    refused.stdout.fnmatch_lines(["*fm_emulator: engine: 'go' is none of grpc.aio, native*"])


def test_without_any_setting_operations_are_done_at_the_first_get(run: Run) -> None:
    test = """
def test_it(fm_emulator):
    assert fm_emulator.sdk().models.completions("yandexgpt").run_deferred("?").get_status().is_succeeded

@pytest.mark.fm_emulator(immediate=False)
def test_otherwise(fm_emulator):
    assert fm_emulator.sdk().models.completions("yandexgpt").run_deferred("?").get_status().is_running

def test_timeline(fm_emulator):
    fm_emulator.rule(reply="да", operation={"done_after_polls": 2})
    assert fm_emulator.sdk().models.completions("yandexgpt").run_deferred("?").get_status().is_running
"""
    run(ASK + test).assert_outcomes(passed=3)


def test_what_older_pytests_give_for_an_option_that_is_not_set_is_no_value(run: Run) -> None:
    before_8 = """
def pytest_configure(config):
    real = config.getini
    unset = ("fm_emulator_seed", "fm_emulator_now", "fm_emulator_speed", "fm_emulator_quotas")
    config.getini = lambda name: [] if name in unset else real(name)
"""
    test = "def test_it(fm_emulator):\n    assert fm_emulator.config.seed == 0\n"
    run(test, beside={"conftest.py": before_8}).assert_outcomes(passed=1)


def test_the_nearest_marker_wins_field_by_field(run: Run) -> None:
    test = """
pytestmark = pytest.mark.fm_emulator(seed=1, speed=2, strict=True)

@pytest.mark.fm_emulator(seed=3)
class TestIt:
    @pytest.mark.fm_emulator(speed=4, lenient=True)
    def test_near(self, fm_emulator):
        config = fm_emulator.config
        assert (config.seed, config.speed, config.strict, config.lenient) == (3, 4, True, True)

    def test_far(self, fm_emulator):
        config = fm_emulator.config
        assert (config.seed, config.speed, config.strict, config.lenient) == (3, 2, True, False)
"""
    run(ASK + test, ini="fm_emulator_strict = false\nfm_emulator_seed = 9\n").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("fixtures", "answer"),
    [
        ("'one.yaml'", "один"),
        ("'shared/two.yaml'", "два"),
        ("'shared'", "два"),
        ("pathlib.Path('one.yaml')", "один"),
        ("pathlib.Path('shared/two.yaml').absolute()", "два"),
        ("{'rules': [{'reply': {'text': 'три'}}]}", "три"),
        ("'rules:\\n- reply: {text: три}'", "три"),
        ("['one.yaml', {'rules': [{'reply': {'text': 'три'}, 'priority': 1}]}]", "три"),
    ],
    ids=["beside", "rootdir", "folder", "path", "absolute", "mapping", "yaml", "several"],
)
def test_a_marker_gives_fixtures_instead_of_those_of_the_ini(run: Run, fixtures: str, answer: str) -> None:
    test = f"""
import pathlib

@pytest.mark.fm_emulator(fixtures={fixtures})
def test_it(fm_emulator):
    assert ask(fm_emulator) == {answer!r}
    assert all("ini" not in rule.file for rule in fm_emulator.book.rules)

def test_ini(fm_emulator):
    assert ask(fm_emulator) == "из ini"
"""
    files = {
        "ini.yaml": "rules:\n- reply: {text: из ini}\n",
        "shared/two.yaml": TWO,
        "tests/one.yaml": ONE,
        "one.yaml": TWO,  # the nearer one is taken
        "tests/test_there.py": ASK + test,
    }
    result = run("", ini="fm_emulator_fixtures = ini.yaml\n", beside=files)
    result.assert_outcomes(passed=2)


def test_no_fixtures_at_all_can_be_asked_for(run: Run) -> None:
    test = """
@pytest.mark.fm_emulator(fixtures=[])
def test_it(fm_emulator):
    assert fm_emulator.book.rules == ()
"""
    run(ASK + test, ini="fm_emulator_fixtures = one.yaml\n", beside={"one.yaml": ONE}).assert_outcomes(passed=1)


def test_fixtures_are_compiled_once_and_again_when_a_file_has_changed(run: Run) -> None:
    test = """
import pathlib
books = []

@pytest.mark.parametrize("n", [1, 2, 3])
def test_it(fm_emulator, n):
    books.append(fm_emulator.book)
    if n == 2:
        pathlib.Path("one.yaml").write_text("rules:\\n- reply: {text: заново}", "utf-8")
    if n == 3:
        assert books[0] is books[1] is not books[2]
        assert ask(fm_emulator) == "заново"
"""
    run(ASK + test, ini="fm_emulator_fixtures = one.yaml\n", beside={"one.yaml": ONE}).assert_outcomes(passed=3)


def test_mistakes_in_fixtures_fail_the_test_at_setup_a_line_each(run: Run) -> None:
    broken = "rules:\n- reply: {txt: a}\n- reply: {error: NO}\n"
    test = """
@pytest.mark.fm_emulator(fixtures=["one.yaml", {"rules": [{"reply": {"txt": "a"}}]}])
def test_it(fm_emulator):
    pass

def test_after(fm_emulator):
    assert ask(fm_emulator)
"""
    result = run(ASK + test, beside={"one.yaml": broken})
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "fm_emulator: mistakes in the fixtures",
            "one.yaml:2: *txt*",
            "one.yaml:3: *NO*",
            "test_it.py::fm_emulator: *txt*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("strct=True", "the marker has no argument 'strct'; there are fixtures, seed, now,*"),
        ("'one.yaml'", "the marker takes no positional arguments; write fm_emulator(fixtures='one.yaml')"),
        ("speed='fast'", "the marker: speed: 'fast' is not a number"),
        ("now='noon'", "the marker: now: 'noon' is not a time*"),
        ("strict=None", "the marker: strict: None is no value*"),
        ("verify=['expct']", "the marker: verify: no such check: expct; there are expect, times,*"),
        ("verify=3", "the marker: verify: 3 is neither True nor False nor a list of expect,*"),
        ("fixtures='no.yaml'", "the marker: fixtures: no such file or folder: no.yaml; looked in *"),
        ("fixtures=3", "the marker: fixtures: 3 is neither a path nor a mapping nor YAML"),
    ],
)
def test_a_marker_that_can_not_be_is_refused_in_words(run: Run, marker: str, told: str) -> None:
    result = run(f"import pytest\n@pytest.mark.fm_emulator({marker})\ndef test_it(fm_emulator): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"fm_emulator: {told}".replace("[", "[[]")])


@pytest.mark.parametrize(
    ("ini", "told"),
    [
        ("seed = x", "ini option fm_emulator_seed: seed: 'x' is not a whole number"),
        ("chaos = 2", "ini option fm_emulator_chaos: chaos: 2.0 is no share of calls; give a number from 0 to 1*"),
        ("speed = 0", "ini option fm_emulator_speed: speed: 0.0 must be more than 0*"),
        ("strict = maybe", "ini option fm_emulator_strict: *maybe*"),
        ("fixtures = no.yaml", "no.yaml: no such file or folder"),
    ],
)
def test_an_ini_option_that_can_not_be_is_refused_in_words(run: Run, ini: str, told: str) -> None:
    result = run("def test_it(fm_emulator): pass\n", ini=f"fm_emulator_{ini}\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{told}"])


def test_pytest_tells_of_the_marker_and_the_fixture(run: Run) -> None:
    result = run("", args=("--markers",))
    result.stdout.fnmatch_lines(["@pytest.mark.fm_emulator(fixtures=..., *verify=...): *"])
    result = run("", args=("--fixtures",))
    result.stdout.fnmatch_lines(["fm_emulator -- *", "*A running emulator*"])
