"""The end of a test: what fails it although its own asserts hold, and what is shown of a test that failed."""

from __future__ import annotations

import pytest

from .conftest import Run

pytest_plugins = ["pytester"]

ASK = """
import pytest

def model(e, **more):
    return e.sdk(**more).models.completions("yandexgpt")

def ask(e, question="Привет!", **more):
    return model(e, **more).run(question).text
"""
SPENT = """
    fm_emulator.rule(reply="раз", times=1)
    ask(fm_emulator)
    with pytest.raises(Exception):
        ask(fm_emulator)
"""
DIFFERS = {
    "expect": (
        "    fm_emulator.rule(name='weather', reply='раз', expect=2)\n    ask(fm_emulator)\n",
        "weather*1 time*2*",
    ),
    "times": (SPENT, "c*: *has answered all its times*"),
    "unmatched": ("    with pytest.raises(Exception):\n        ask(fm_emulator)\n", "c*: *"),
    "unread": (
        "    fm_emulator.rule(reply={'text': 'раз два три', 'stream': {'words': 1, 'stall': {'after': 1, 'for': "
        "'forever'}}})\n    stream = model(fm_emulator).run_stream('?')\n    next(stream)\n    stream.close()\n",
        "c*",
    ),
    "unfetched": ("    fm_emulator.rule(reply='раз')\n    model(fm_emulator).run_deferred('?')\n", "d7q*no Get*"),
}


@pytest.mark.parametrize("check", DIFFERS)
def test_under_strictness_what_differs_fails_the_test(run: Run, check: str) -> None:
    body, told = DIFFERS[check]
    result = run(f"{ASK}\ndef test_it(fm_emulator):\n{body}", ini="fm_emulator_strict = true\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["fm_emulator: * problem*", f"✗ {check}: {told}"])
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


@pytest.mark.parametrize("check", DIFFERS)
def test_verify_narrows_what_is_held(run: Run, check: str) -> None:
    body, _ = DIFFERS[check]
    others = [other for other in DIFFERS if other != check and {other, check} != {"times", "unmatched"}]
    test = f"""
@pytest.mark.fm_emulator(strict=True, verify={others!r})
def test_others(fm_emulator):
{body}

@pytest.mark.fm_emulator(strict=True, verify=False)
def test_none(fm_emulator):
{body}

@pytest.mark.fm_emulator(strict=True, verify={check!r})
def test_this(fm_emulator):
{body}
"""
    run(ASK + test).assert_outcomes(passed=2, failed=1)


def test_verify_without_strictness_lets_calls_have_default_replies(run: Run) -> None:
    test = """
@pytest.mark.fm_emulator(verify=True)
def test_it(fm_emulator):
    assert ask(fm_emulator)
"""
    result = run(ASK + test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["✗ unmatched: *no rule*"])


def test_without_any_setting_only_what_rules_expect_is_held(run: Run) -> None:
    test = """
def test_free(fm_emulator):
    ask(fm_emulator)
    model(fm_emulator).run_deferred("?")

def test_expecting(fm_emulator):
    fm_emulator.rule(name="weather", when={"question": {"contains": "погода"}}, reply="дождь", expect=1)
    ask(fm_emulator, "какая погота?")
"""
    result = run(ASK + test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["✗ expect: weather *", "*the nearest call*какая погота*"])


def test_what_went_as_expected_passes(run: Run) -> None:
    test = """
@pytest.mark.fm_emulator(strict=True)
def test_it(fm_emulator):
    fm_emulator.rule(reply="раз два", expect=3)
    assert ask(fm_emulator) == "раз два"
    assert [chunk.text for chunk in model(fm_emulator).run_stream("?")][-1] == "раз два"
    assert model(fm_emulator).run_deferred("?").wait().text == "раз два"

@pytest.mark.fm_emulator(strict=True)
async def test_async(fm_emulator):
    fm_emulator.rule(reply="раз два", expect=1)
    model = fm_emulator.async_sdk().models.completions("yandexgpt")
    assert [chunk.text async for chunk in model.run_stream("?")][-1] == "раз два"
"""
    run(ASK + test).assert_outcomes(passed=2)


def test_async_tests_get_their_verdict_too(run: Run) -> None:
    test = """
@pytest.mark.fm_emulator(verify=True)
@pytest.mark.parametrize("n", [1, 2])
async def test_it(fm_emulator, n):
    await fm_emulator.async_sdk().models.completions("yandexgpt").run("?")
"""
    result = run(ASK + test)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["✗ unmatched: *"])


def test_a_test_that_fails_by_itself_gets_no_second_verdict(run: Run) -> None:
    test = """
@pytest.mark.fm_emulator(verify=True)
def test_it(fm_emulator):
    ask(fm_emulator)
    raise ZeroDivisionError
"""
    result = run(ASK + test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError*"])
    result.stdout.no_fnmatch_line("*✗*")


def test_a_verdict_counts_for_xfail(run: Run) -> None:
    test = """
@pytest.mark.xfail(strict=True)
@pytest.mark.fm_emulator(verify=True)
def test_it(fm_emulator):
    ask(fm_emulator)
"""
    run(ASK + test).assert_outcomes(xfailed=1)


def test_named_sessions_are_held_to_account_by_name(run: Run) -> None:
    test = """
fixtures = {"rules": [{"name": "shared", "reply": {"text": "раз"}, "expect": 1}]}

@pytest.mark.fm_emulator(fixtures=fixtures)
def test_in_its_own_session(fm_emulator):
    assert ask(fm_emulator.session("job-17")) == "раз"

def test_missed(fm_emulator):
    fm_emulator.session("job-18").rule(reply="раз", expect=1)
"""
    result = run(ASK + test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["fm_emulator: session job-18: 1 problem"])


def test_a_failed_test_shows_its_calls(run: Run) -> None:
    test = """
def test_it(fm_emulator):
    fm_emulator.rule(name="greeting", reply="раз")
    ask(fm_emulator, "Привет!")
    ask(fm_emulator.session("job-17"), "Как дела?")
    raise ZeroDivisionError

def test_calm(fm_emulator):
    ask(fm_emulator, "Тихо")
"""
    result = run(ASK + test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- fm-emulator -*",
            "c2 TextGenerationService/Completion rule=greeting OK Привет!*",
            "job-17 c* TextGenerationService/Completion rule=* OK Как дела?*",
        ]
    )
    result.stdout.no_fnmatch_line("*Тихо*")


def test_of_many_calls_a_failed_test_shows_the_last_twenty(run: Run) -> None:
    test = """
def test_it(fm_emulator):
    client = model(fm_emulator)
    for n in range(30):
        client.run(f"вопрос {n}")
    raise ZeroDivisionError
"""
    result = run(ASK + test)
    result.stdout.fnmatch_lines(["the last 20 of 31 calls", "c12 * вопрос 10*", "c31 * вопрос 29*"])
    result.stdout.no_fnmatch_line("*вопрос 9 *")
