"""`fm-emulator try`: what would be answered, by which rule, and why others lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wire.client import asking, drawing

from emulator.api import to_dict

if TYPE_CHECKING:
    from .conftest import Run, Write

RULES: dict[str, Any] = {
    "rules": [
        {"name": "bye", "when": {"question": {"contains": "пока"}}, "reply": {"text": "До встречи!"}},
        {
            "name": "hello",
            "when": {"question": {"contains": "привет"}},
            "reply": {"text": "Здравствуйте, {{ folder }}!"},
        },
        {"name": "after", "when": {"question": "после"}, "reply": {"text": "никогда"}},
    ]
}


@pytest.fixture
def rules(write: Write) -> Path:
    return write(RULES)


def test_the_reply_its_rule_and_why_those_before_it_lost_are_shown(run: Run, rules: Path) -> None:
    result = run("try", "--fixtures", rules, "Привет!")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "Здравствуйте, b1gtest!"
    assert lines[1].startswith("(FINAL, ")
    assert "answered by: hello" in lines
    assert f"✓ hello ({rules}:8) answers" in lines
    lost = lines.index(f"✗ bye ({rules}:2)")
    assert lines[lost + 1].startswith("    ✗ question: ")
    assert "after" not in result.output


def test_what_no_rule_matches_gets_a_default_and_a_rule_to_paste(run: Run, rules: Path) -> None:
    result = run("try", "--fixtures", rules, "где барсук?")
    assert result.exit_code == 0
    assert "Вы спросили: «где барсук?»" in result.output
    assert "answered by: default" in result.output
    assert "no rule matches\n" in result.output
    assert "a rule that matches it:" in result.output
    assert "question: где барсук?" in result.output


def test_strict_fails_what_no_rule_matches(run: Run, rules: Path) -> None:
    result = run("try", "--fixtures", rules, "--strict", "где барсук?")
    assert result.exit_code == 1
    assert result.output.startswith("FAILED_PRECONDITION: no rule matches this completion; the nearest is ")
    assert "answered by" not in result.output
    assert "a rule that matches it:" in result.output
    assert run("try", "--fixtures", rules, "--strict", "привет").exit_code == 0


def test_with_no_fixtures_the_default_reply_is_shown(run: Run) -> None:
    result = run("try", "Привет")
    assert result.exit_code == 0
    assert "there is no rule for completion" in result.output


def test_fixtures_may_be_given_by_environment_and_several_times(run: Run, rules: Path, write: Write) -> None:
    other = write({"rules": [{"when": {"question": "ау"}, "reply": {"text": "ага"}}]}, "other.yaml")
    both = f"{rules}:{other}"
    assert run("try", "ау", env={"FM_EMULATOR_FIXTURES": both}).output.startswith("ага\n")
    assert run("try", "--fixtures", rules, "--fixtures", other, "ау").output.startswith("ага\n")


def test_a_streams_chunks_are_shown_with_their_instants(run: Run, write: Write) -> None:
    stream = {"words": 1, "first_after": "300ms", "every": "1s"}
    file = write({"rules": [{"reply": {"text": "раз два три", "stream": stream}}]})
    lines = run("try", "--fixtures", file, "--stream", "?").output.splitlines()
    chunks = [line.split() for line in lines[:3]]
    assert [(c[0], c[2]) for c in chunks] == [("0.300", "PARTIAL"), ("1.300", "PARTIAL"), ("2.300", "FINAL")]
    assert [line.rpartition("…")[2].strip("'\" ") for line in lines[:3]] == ["раз", "два", "три"]


def test_a_stream_that_breaks_off_fails_the_command(run: Run, write: Write) -> None:
    stream = {"words": 1, "stop": {"after": 1, "error": {"code": "ABORTED", "message": "нет"}}}
    file = write({"rules": [{"reply": {"text": "раз два", "stream": stream}}]})
    result = run("try", "--fixtures", file, "--stream", "?")
    assert result.exit_code == 1
    assert "ABORTED: нет" in result.output
    assert "два" not in result.output


def test_a_stream_that_stalls_for_ever_does_not_keep_the_command(run: Run, write: Write) -> None:
    file = write({"rules": [{"reply": {"text": "раз два", "stream": {"stall": {"after": 0, "for": "forever"}}}}]})
    result = run("try", "--fixtures", file, "--stream", "?")
    assert "… then nothing, until the client leaves" in result.output
    assert result.exit_code == 0


def test_repeat_goes_through_a_sequence_and_its_states(run: Run, write: Write) -> None:
    rules = [
        {
            "when": {"state": {"busy": {"present": False}}},
            "reply": {"error": "UNAVAILABLE"},
            "then": {"state": {"busy": "1"}},
        },
        {"replies": [{"text": "первый"}, {"text": "второй"}]},
    ]
    result = run("try", "--fixtures", write({"rules": rules}), "--repeat", 3, "?")
    assert result.exit_code == 0
    calls = result.output.split("— call ")
    assert [call[:1] for call in calls[1:]] == ["1", "2", "3"]
    assert "UNAVAILABLE: " in calls[1]
    assert calls[2].startswith("2\nпервый")
    assert calls[3].startswith("3\nвторой")


def test_the_last_call_decides_the_exit_status(run: Run, write: Write) -> None:
    file = write({"rules": [{"replies": [{"text": "a"}, {"error": "ABORTED"}]}]})
    assert [run("try", "--fixtures", file, "--repeat", n, "?").exit_code for n in (1, 2)] == [0, 1]


def test_tools_are_offered_and_their_results_end_the_conversation(run: Run, write: Write) -> None:
    rules = [
        {"when": {"tools": ["get_weather"]}, "reply": {"tool_calls": [{"get_weather": {"city": "Москва"}}]}},
        {"when": {"tool_results": {"get_weather": {"contains": "+20"}}}, "reply": {"text": "Тепло."}},
    ]
    file = write({"rules": rules})
    called = run("try", "--fixtures", file, "--tool", "get_weather", "погода?").output
    shown = json.loads(called[: called.index("\n\nanswered by")])
    (call,) = shown["alternatives"][0]["message"]["tool_call_list"]["tool_calls"]
    assert call["function_call"] == {"name": "get_weather", "arguments": {"city": "Москва"}}
    returned = run("try", "--fixtures", file, "--tool-result", "get_weather=+20 = тепло", "погода?")
    assert returned.output.startswith("Тепло.\n")


def test_metadata_model_folder_and_system_are_in_the_request(run: Run, write: Write) -> None:
    when = {"metadata": {"x-shard": "7=7"}, "model": "yandexgpt-lite/rc", "folder": "b1gmine", "system": "кратко"}
    file = write({"rules": [{"when": when, "reply": {"text": "да"}}]})
    arguments = ["--model", "yandexgpt-lite/rc", "--folder", "b1gmine", "--system", "кратко"]
    result = run("try", "--fixtures", file, "--strict", *arguments, "--metadata", "X-Shard=7=7", "?")
    assert result.output.startswith("да\n")


@pytest.mark.parametrize(
    ("call", "first"),
    [("completion_async", "at 8 s: COMPLETED, done"), ("generate_image", "at 8 s: COMPLETED, done")],
)
def test_an_operations_life_is_shown(run: Run, write: Write, call: str, first: str) -> None:
    file = write({"rules": [{"call": call, "operation": {"done_after": "8s"}}]})
    result = run("try", "--fixtures", file, "--call", call, "кот")
    assert result.output.startswith(first)
    assert result.exit_code == 0


def test_a_batch_is_asked_by_its_dataset(run: Run, write: Write) -> None:
    rule = {
        "call": "completion_batch",
        "when": {"dataset": "fds7"},
        "operation": {"done_after_polls": 2, "polls": {1: "UNAVAILABLE"}},
    }
    result = run("try", "--fixtures", write({"rules": [rule]}), "--strict", "--call", "completion_batch", "fds7")
    assert result.exit_code == 0, result.output
    assert "at Get 1: PENDING\nat Get 2: COMPLETED, done\nGet 1 fails: UNAVAILABLE\n" in result.output


def test_a_row_of_a_batch_is_asked_by_its_number(run: Run, write: Write) -> None:
    fifth = {"call": "batch_row", "when": {"row": 5, "dataset": "fdsnightly"}, "reply": {"error": "INTERNAL"}}
    path = write({"rules": [{"name": "fifth", **fifth}, {"reply": {"text": "{{ row }}: {{ question }}"}}]})
    asked = ("try", "--fixtures", path, "--call", "batch_row", "Привет", "--dataset", "fdsnightly")
    first, other = run(*asked), run(*asked, "--row", "5")
    assert (first.exit_code, first.output.splitlines()[0]) == (0, "1: Привет")
    assert "✗ fifth" in first.output
    assert (other.exit_code, other.output.splitlines()[0]) == (1, "INTERNAL: Internal server error")
    assert "answered by: fifth" in other.output


def test_the_whole_request_may_come_from_a_file_or_standard_input(run: Run, rules: Path, write: Write) -> None:
    request = json.dumps(to_dict(asking("ну", "и", "привет")), ensure_ascii=False)
    file = write(request, "request.json")
    assert run("try", "--fixtures", rules, "--request", file).output.startswith("Здравствуйте")
    assert run("try", "--fixtures", rules, "--request", "-", input=request).output.startswith("Здравствуйте")


def test_a_picture_is_shown_by_its_size(run: Run, write: Write) -> None:
    request = write(json.dumps(to_dict(drawing("кот"))), "request.json")
    result = run("try", "--call", "generate_image", "--request", request)
    assert result.exit_code == 0
    assert ' bytes"' in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--request", "no.json"], "request: no.json can't be read: No such file or directory"),
        (["--request", "-"], "request: -: "),
        ([], "give a TEXT, or the whole request with --request FILE"),
        (["--metadata", "x", "?"], "metadata: 'x' is not of the form NAME=TEXT"),
        (["--tool-result", "=x", "?"], "tool-result: '=x' is not of the form NAME=TEXT"),
    ],
)
def test_arguments_that_can_not_be_are_told_in_a_sentence(run: Run, arguments: list[str], told: str) -> None:
    result = run("try", *arguments, input='{"model_ur": "x"}')
    assert result.exit_code == 1
    assert result.output.startswith("fm-emulator: ")
    assert told in result.output


def test_a_request_with_a_field_that_is_none_is_told_what_was_meant(run: Run) -> None:
    assert "did you mean model_uri?" in run("try", "--request", "-", input='{"model_ur": "x"}').output


def test_a_request_the_service_would_refuse_is_refused_unless_lenient(run: Run, write: Write) -> None:
    request = write(json.dumps({"model_uri": "nonsense", "messages": [{"role": "user", "text": "?"}]}), "request.json")
    refused = run("try", "--request", request)
    assert refused.exit_code == 1
    assert refused.output.startswith("refused before any rule is asked: INVALID_ARGUMENT: ")
    assert run("try", "--request", request, "--lenient").exit_code == 0


def test_a_reply_that_is_not_what_was_asked_for_is_noted(run: Run, write: Write) -> None:
    file = write({"rules": [{"reply": {"tool_calls": ["get_time"]}}]})
    result = run("try", "--fixtures", file, "--tool", "get_weather", "?")
    assert "note: called get_time, which the request does not offer" in result.output


def test_the_seed_decides_what_is_drawn(run: Run, write: Write) -> None:
    file = write({"rules": [{"reply": {"text": "a", "delay": {"p50": "1s", "p95": "9s"}}}]})
    one, same, other = (run("try", "--fixtures", file, "--seed", seed, "?").output for seed in (1, 1, 2))
    assert one.startswith("after ")
    assert one == same != other


def test_mistakes_in_fixtures_are_told_as_check_tells_them(run: Run, write: Write) -> None:
    file = write("rules:\n- reply: {txt: a}\n")
    result = run("try", "--fixtures", file, "?")
    assert (result.exit_code, result.output) == (1, run("check", file).output)


# -- what measures a text


def test_tokens_are_shown_in_a_line(run: Run) -> None:
    output = run("try", "--call", "tokenize", "Ну, привет").output
    assert '"tokens": "4 tokens: <s> ▁Ну , ▁привет"' in output
    assert "15 tokens: <s> ▁Пользователь : ▁ping" in run("try", "--call", "tokenize_completion", "ping").output


def test_a_vector_is_shown_by_its_beginning(run: Run, write: Write) -> None:
    output = run("try", "--call", "text_embedding", "--dim", 8, "--model", "text-search-query", "Привет").output
    assert '"embedding": "8 numbers: ' in output
    assert output.splitlines()[1].endswith(', …",')
    file = write({"rules": [{"name": "v", "reply": {"embedding": [0.6, 0.8]}}]})
    output = run("try", "--fixtures", file, "--call", "text_embedding", "Привет").output
    assert '"embedding": "2 numbers: 0.6, 0.8"' in output
    assert "answered by: v" in output


def test_a_class_is_chosen_among_the_given_labels(run: Run, write: Write) -> None:
    shown = run("try", "--call", "few_shot_classify", "--label", "спорт", "--label", "кино", "Новое кино").output
    predictions = json.loads(shown[: shown.index("\n\nanswered by")])["predictions"]
    assert list(predictions) == ["спорт", "кино"]
    assert predictions["кино"] > 0.9
    file = write({"rules": [{"name": "t", "when": {"task": "Куда?"}, "reply": {"predictions": {"туда": 1}}}]})
    asked = ("try", "--fixtures", file, "--call", "few_shot_classify", "--label", "туда", "--label", "сюда", "a")
    assert "answered by: default" in run(*asked).output
    assert "answered by: t" in run(*asked, "--task", "Куда?").output
    assert "note" not in run(*asked, "--task", "Куда?").output


def test_a_choice_without_labels_says_what_to_give(run: Run) -> None:
    result = run("try", "--call", "few_shot_classify", "a")
    assert result.exit_code == 1
    assert "label: say what to choose from" in result.output + result.stderr
    result = run("try", "--call", "few_shot_classify", "--label", "один", "a")
    assert "labels: Number of elements must be in the range of 2 to 20" in result.output


def test_the_whole_request_may_be_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"modelUri": "cls://b1g/bt1", "text": "Отлично!"}), "utf-8")
    assert '"positive": 0.9' in run("try", "--call", "classify", "--request", file).output
