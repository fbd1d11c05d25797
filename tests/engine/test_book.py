"""Loading: what is wrong and where, what is merged, and what a rule is known by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emulator.engine.book import Book, load
from emulator.errors import FixtureError

from .asked import Session, asked, rules


def mistakes(*fixtures: Any) -> list[str]:
    with pytest.raises(FixtureError) as refused:
        load(fixtures)
    return [str(mistake) for mistake in refused.value.mistakes]


def written(folder: Path, text: str, name: str = "rules.yaml") -> Path:
    file = folder / name
    file.write_text(text, "utf-8")
    return file


# -- mistakes: each snippet is the first and only rule unless it says `rules`, so its first line is line 2

IN_RULES: list[tuple[str, int, str]] = [
    # replies and sequences
    ("when: {question: x}", 2, "says when, but not what: it needs reply, replies or operation"),
    ("reply: {text: a}\n  replies: [{text: b}]", 3, "a rule has reply or replies, not both"),
    ("reply: {text: a}\n  per: folder", 3, "per: this is about a sequence; it goes with replies"),
    ("reply: {text: a}\n  after_last: pass", 3, "after_last: this is about a sequence"),
    ("reply: {text: a}\n  name: ' '", 3, "an empty name names nothing"),
    ("reply: {text: a}\n  expect: {exactly: 1, at_least: 1}", 3, "exactly says it all"),
    ("reply: {text: a}\n  expect: {at_least: 3, at_most: 2}", 3, "at least 3 and at most 2 can't both be"),
    ("reply: {use: nobody}", 2, "reply.use: no such snippet: nobody; there is none in any file"),
    # which call
    ("call: []\n  reply: {text: a}", 2, "call: an empty list names no call"),
    ("call: generate_image\n  reply: {text: a}", 2, "generate_image can't be answered with text; that fits batch_row"),
    (
        "call: completion\n  when: {prompt: кот}\n  reply: {error: ABORTED}",
        2,
        "completion has no prompt; that is there",
    ),
    (
        "call: completion_async\n  operation: {timeline: [{at: 1s, total_batches: 2}, {at: 2s, done: true}]}",
        2,
        "completion_async has no operation with such a timeline",
    ),
    ("call: completion\n  reply: {text: a}\n  operation: {done_after: 1s}", 4, "answers at once and has no operation"),
    ("when: {request: {generation_options.seed: 1}, row: 5}\n  reply: {error: ABORTED}", 2, "fits no call"),
    # content
    ("reply: {text: a, json: {}}", 2, "a reply is one thing: leave out either text or json"),
    ("reply: {text: {file: nowhere.md}}", 2, "nowhere.md: no such file beside"),
    ("reply: {text: {file: ../up.md}}", 2, "outside the fixtures' folder"),
    ("reply: {text: {}}", 2, "say either file or generate"),
    ("reply: {text: {file: a.md, generate: {tokens: 3}}}", 2, "say either file or generate"),
    ("call: generate_image\n  reply: {image: nowhere.jpg}", 3, "reply.image: nowhere.jpg: no such file"),
    ("reply: {text: '{{ nobody }}'}", 2, "nobody"),
    ("reply: {text: '{{ question'}", 2, "reply.text: "),
    ("reply: {json: {a: '{{ nobody }}'}}", 2, "nobody"),
    ("reply: {tool_calls: []}", 2, "an empty list calls nothing"),
    ("reply:\n    tool_calls:\n    - {a: {}, b: {}}", 4, "a call is one name and its arguments"),
    ("reply:\n    tool_calls:\n    - a: Москва", 4, "arguments are a mapping"),
    ("reply: {message: {alternativs: []}}", 2, "reply.message: no reply of any call has this shape"),
    ("reply: {text: a, status: FINALE}", 2, "no such status: FINALE; did you mean FINAL?"),
    ("reply: {text: a, status: xyz}", 2, "no such status: XYZ; there are "),
    ("reply: {error: ABORTED, status: FINAL}", 2, "error has no alternative to give a status to"),
    ("reply: {text: a, headers: {X-Shard: '1'}}", 2, "metadata keys are in lower case on the wire; write x-shard"),
    ("reply: {text: a, headers: {x-shard: ж}}", 2, "metadata values are printable ASCII"),
    ("reply: {text: a, trailers: {grpc-status: '0'}}", 2, "gRPC keeps this key for itself"),
    ("reply: {text: a, trailers: {x-bin-bin: '0'}}", 2, "binary metadata can't be written here"),
    ("reply: {text: a, trailers: {'x y': '0'}}", 2, "a metadata key is made of"),
    # errors
    ("reply: {error: OK}", 2, "OK is no error"),
    ("reply: {error: UNAVAILABEL}", 2, "no such status code: UNAVAILABEL; did you mean UNAVAILABLE?"),
    ("reply: {error: 429}", 2, "give the code by its name: RESOURCE_EXHAUSTED"),
    ("reply: {error: {code: 14}}", 2, "reply.error.code: give the code by its name: UNAVAILABLE"),
    ("reply: {error: {code: ABORTED, message: '{{ nobody }}'}}", 2, "reply.error.message: "),
    ("reply: {error: {code: ABORTED, details: {Retry: {}}}}", 2, "no such message: google.rpc.Retry"),
    ("reply: {error: {code: ABORTED, details: {ErrorInfo: {reson: x}}}}", 2, "did you mean reason?"),
    # streams
    ("reply: {text: a b c, stream: {words: 1, tokens: 2}}", 2, "words"),
    ("reply: {text: a b c, stream: {words: 1, stop: {after: 4}}}", 2, "4 is beyond the last chunk: the text makes 3"),
    ("reply: {text: a, stream: {stall: {after: 2, for: 1s}}}", 2, "2 is beyond the last chunk: the text makes 1 chunk"),
    (
        "reply: {text: a b c, stream: {words: 1, stop: {after: 1}, stall: {after: 2, for: 1s}}}",
        2,
        "the stream has stopped before that",
    ),
    ("reply: {text: a b c, stream: {stop: {after: 0, error: NO}}}", 2, "reply.stream.stop.error: no such status code"),
    ("reply: {stream: {pieces: [a, '']}}", 2, "each piece adds text"),
    ("reply: {stream: {pieces: []}}", 2, "each piece adds text"),
    ("reply: {text: ab, stream: {pieces: [a, c]}}", 2, "the pieces don't join to text"),
    (
        "reply: {stream: {pieces: [{text: a, completion_tokens: 2}, {text: b, completion_tokens: 2}]}}",
        2,
        "completion_tokens must grow",
    ),
    ("reply: {tool_calls: [f], stream: {pieces: [a]}}", 2, "tool calls are sent in one message"),
    # operations
    ("operation: {done_after: 1s, done_after_polls: 2}", 2, "done_after says already when the operation is done"),
    ("operation: {at_poll: 2}", 2, "say with which error"),
    ("operation: {timeline: [{at: 1s, done: true}], error: ABORTED}", 2, "stands at its FAILED stage"),
    ("operation: {timeline: []}", 2, "an empty timeline never ends"),
    ("operation: {timeline: [{at: 1s, done: true}, {at: 2s}]}", 2, "the operation is done before this stage"),
    ("operation: {timeline: [{at: 2s}, {at: 1s, done: true}]}", 2, "a stage can't come before the one above it"),
    ("operation: {timeline: [{at: 2s, status: DONE}]}", 2, "no such status: DONE; there are CREATED"),
    ("operation: {timeline: [{at: 2s, status: PENDING, done: true}]}", 2, "that is PENDING can't be done"),
    ("operation: {timeline: [{at: 2s, status: COMPLETED, error: ABORTED}]}", 2, "with an error is FAILED"),
    ("operation: {timeline: [{at: 2s, total_batches: 2, completed_batches: 3}]}", 2, "3 are more than the 2"),
    (
        "operation: {timeline: [{at: 1s, total_batches: 2}, {at: 2s}, {at: 3s, completed_batches: 3, done: true}]}",
        2,
        "3 are more than the 2",
    ),
    ("operation: {polls: {2: {error: NO}}}", 2, "operation.polls[2].error: no such status code"),
    # conditions
    ("when: {any: []}\n  reply: {text: a}", 2, "an empty list can never match"),
    ("when: {question: []}\n  reply: {text: a}", 2, "an empty list matches nothing"),
    ("when: {metadata: {X-Shard: a}}\n  reply: {text: a}", 2, "write x-shard"),
    ("when: {request: {mesages: a}}\n  reply: {text: a}", 2, "mesages"),
    ("when: {options: {temprature: 1}}\n  reply: {text: a}", 2, "temprature"),
    ("when: {question: '{{ vars.city }}'}\n  reply: {text: a}", 2, "no such variable: city; vars has none"),
    ("when: {turn: много}\n  reply: {text: a}", 2, "is not a number"),
]


@pytest.mark.parametrize(("rule", "line", "text"), IN_RULES, ids=[text[:40] for _, _, text in IN_RULES])
def test_a_mistake_in_a_rule_is_told_where_it_stands(tmp_path: Path, rule: str, line: int, text: str) -> None:
    file = written(tmp_path, f"rules:\n- {rule}\n")
    (told,) = mistakes(file)
    assert told.startswith(f"{file}:{line}: ")
    assert text in told


IN_FILES: list[tuple[str, int, str]] = [
    ("vars: {city: '${NOT_SET_ANYWHERE}'}", 1, "the environment has no NOT_SET_ANYWHERE"),
    ("snippets:\n  a: {use: b}\n  b: {text: c}", 2, "a snippet can't use another"),
    ("snippets:\n  a: {error: NO}", 2, "snippets.a.error: no such status code: NO"),
    ("snippets: {a: {text: b}}\nrules:\n- reply: {use: c}", 3, "no such snippet: c; there are a"),
    ("defaults:\n  operation: {timeline: []}\nrules: [{call: completion_async, reply: {text: a}}]", 2, "never ends"),
    ("fallback:\n  error: NO", 2, "fallback.error: no such status code: NO"),
]


@pytest.mark.parametrize(("text", "line", "told"), IN_FILES, ids=[told[:40] for _, _, told in IN_FILES])
def test_a_mistake_elsewhere_in_a_file_is_told_where_it_stands(tmp_path: Path, text: str, line: int, told: str) -> None:
    file = written(tmp_path, text + "\n")
    (mistake,) = mistakes(file)
    assert mistake.startswith(f"{file}:{line}: ")
    assert told in mistake


def test_a_name_is_taken_once_across_files(tmp_path: Path) -> None:
    first = written(tmp_path, "rules:\n- {name: a, reply: {text: x}}\n", "1.yaml")
    second = written(tmp_path, "rules:\n- reply: {text: y}\n- {name: a, reply: {text: x}}\n", "2.yaml")
    assert mistakes(first, second) == [
        f"{second}:3: name: this name is taken: the rule at {first}:2 is called a already"
    ]


def test_a_name_taken_twice_is_told_though_one_of_the_rules_is_broken(tmp_path: Path) -> None:
    file = written(tmp_path, "rules:\n- {name: a, reply: {txt: x}}\n- {name: a, reply: {text: y}}\n")
    told = mistakes(file)
    assert len(told) == 2
    assert told[1] == f"{file}:3: name: this name is taken: the rule at {file}:2 is called a already"


def test_a_snippets_name_is_taken_once_across_files(tmp_path: Path) -> None:
    first = written(tmp_path, "snippets: {a: {text: x}}\n", "1.yaml")
    second = written(tmp_path, "snippets:\n  a: {text: y}\n", "2.yaml")
    assert mistakes(first, second) == [f"{second}:2: snippets.a: this name is taken: {first} has it already"]


def test_there_is_one_fallback_for_all_files(tmp_path: Path) -> None:
    first, second = (written(tmp_path, "fallback: {text: x}\n", name) for name in ("1.yaml", "2.yaml"))
    (told,) = mistakes(first, second)
    assert told.startswith(f"{second}:1: ")
    assert "another file has a fallback already" in told


def test_everything_that_is_wrong_is_told_at_once_in_order(tmp_path: Path) -> None:
    text = "rules:\n- reply: {txt: a}\n- reply: {error: NO}\n- {name: ok, reply: {text: a}}\n- {per: folder}\n"
    first, second = written(tmp_path, text, "1.yaml"), written(tmp_path, "rules:\n- reply: {text: '{{'}\n", "2.yaml")
    told = mistakes(first, second)
    assert [line.removeprefix(str(tmp_path) + "/")[:8] for line in told[:2]] == ["1.yaml:2", "1.yaml:3"]
    assert {line.removeprefix(str(tmp_path) + "/")[:8] for line in told} == {
        "1.yaml:2",
        "1.yaml:3",
        "1.yaml:5",
        "2.yaml:2",
    }


def test_mistakes_in_mappings_say_which_rule_of_which_mapping() -> None:
    wrong = {"reply": {"error": "UNAVAILABEL"}}
    why = "reply.error: no such status code: UNAVAILABEL; did you mean UNAVAILABLE?"
    told = mistakes({}, {"rules": [{"reply": {"text": "a"}}, wrong, wrong, {"reply": {"txt": "a"}}]})
    assert told == [
        f"fixtures[2]: rules[1].{why}",
        f"fixtures[2]: rules[2].{why}",
        "fixtures[2]: rules[3].reply.txt: no such field; did you mean text?",
    ]


# -- outside the folder


def test_a_link_to_outside_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = written(tmp_path, "rules: []", "secret.txt")
    folder = tmp_path / "fixtures"
    folder.mkdir()
    (folder / "letter.md").symlink_to(secret)
    (folder / "linked.yaml").symlink_to(secret)
    rule = written(folder, "rules:\n- reply: {text: {file: letter.md}}\n", "rule.yaml")
    told = mistakes(folder)
    assert [line.partition(": ")[0] for line in told] == [str(folder / "linked.yaml"), f"{rule}:2"]
    assert "a link to outside the fixtures' folder" in told[0]
    assert "outside the fixtures' folder" in told[1]


def test_a_link_within_the_folder_is_fine(tmp_path: Path) -> None:
    written(tmp_path, "да", "real.md")
    (tmp_path / "letter.md").symlink_to(tmp_path / "real.md")
    written(tmp_path, "rules:\n- reply: {text: {file: letter.md}}\n")
    assert Session(load([tmp_path])).ask("?") == ["да"]


def test_a_subfolders_rule_reaches_up_to_the_folder_that_was_given_and_no_further(tmp_path: Path) -> None:
    inner = tmp_path / "given" / "inner"
    inner.mkdir(parents=True)
    written(tmp_path / "given", "да", "letter.md")
    written(tmp_path, "нет", "letter.md")
    file = written(inner, "rules:\n- reply: {text: {file: ../letter.md}}\n")
    assert Session(load([tmp_path / "given"])).ask("?") == ["да"]
    written(inner, "rules:\n- reply: {text: {file: ../../letter.md}}\n")
    (told,) = mistakes(tmp_path / "given")
    assert told.startswith(f"{file}:2: ")


# -- files


def test_folders_are_read_in_name_order_with_both_suffixes_and_without_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.yaml", "a.yml", "sub/c.yaml", ".hidden.yaml", "notes.txt", "sub/.b.yaml"):
        written(tmp_path, f"rules:\n- reply: {{text: {name}}}\n", name)
    book = load([tmp_path])
    assert [rule.recipes[0].reply.text for rule in book.rules] == ["a.yml", "b.yaml", "sub/c.yaml"]
    assert book.files == 3


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    file = written(tmp_path, "rules:\n- {name: a, reply: {text: x}}\n")
    assert len(load([tmp_path, file, tmp_path]).rules) == 1


def test_nothing_given_is_an_empty_book() -> None:
    assert load(()) == Book()


def test_a_path_that_is_not_there_is_a_mistake() -> None:
    assert mistakes("no/such.yaml") == ["no/such.yaml: no such file or folder"]


def test_rules_that_begin_in_one_line_have_names_of_their_own(tmp_path: Path) -> None:
    file = written(tmp_path, "rules: [{reply: {text: a}}, {reply: {text: b}}]\n", "1.yaml")
    assert [rule.name for rule in load([file]).rules] == [f"{file}:1", f"{file}:1 rules[1]"]


# -- snippets, defaults, variables


def test_a_snippet_fills_in_what_the_reply_leaves_out_and_is_there_for_every_file() -> None:
    snippets = {"slow": {"text": "нет", "delay": "2s", "model_version": "1"}, "busy": {"error": "UNAVAILABLE"}}
    book = load(
        [{"rules": [{"reply": {"use": "slow", "text": "да"}}, {"reply": {"use": "busy"}}]}, {"snippets": snippets}]
    )
    first, second = book.rules
    play = Session(Book(book.rules, by_call={"completion": (first,)})).play(asked("?"))
    assert (play.final().alternatives[0].message.text, play.delay) == ("да", 2 * 10**9)
    assert play.final().model_version == "1"
    assert second.recipes[0].content == "error"


def test_a_later_snippet_wins_over_an_earlier_one_and_the_reply_over_both() -> None:
    snippets = {"a": {"text": "a", "model_version": "1", "delay": "1s"}, "b": {"text": "b", "model_version": "2"}}
    play = Session(rules({"reply": {"use": ["a", "b"], "delay": "3s"}}, snippets=snippets)).play(asked("?"))
    assert (play.final().alternatives[0].message.text, play.final().model_version, play.delay) == ("b", "2", 3 * 10**9)


def test_defaults_are_for_their_file_and_under_snippets() -> None:
    file = {
        "defaults": {"model_version": "file", "delay": "1s", "stream": {"every": "1s", "words": 2}},
        "snippets": {"s": {"delay": "2s"}},
        "rules": [{"reply": {"text": "a", "use": "s", "stream": {"tokens": 3}}, "when": {"question": "x"}}],
    }
    session = Session(load([file, {"rules": [{"reply": {"text": "b"}}]}]))
    mine, other = session.play(asked("x")), session.play(asked("y"))
    assert (mine.final().model_version, mine.delay) == ("file", 2 * 10**9)
    assert mine.cutting is not None
    assert (mine.cutting.spec.tokens, mine.cutting.spec.words) == (3, None)
    assert mine.cutting.spec.every is not None
    assert mine.cutting.spec.every.ns == 10**9
    assert (other.final().model_version, other.delay) == ("09.02.2025", 0)


def test_the_operation_of_the_defaults_is_for_the_rules_that_have_none() -> None:
    file = {
        "defaults": {"operation": {"done_after": "7s"}},
        "rules": [
            {"when": {"question": "x"}, "reply": {"text": "a"}, "operation": {"done_after": "1s"}},
            {"reply": {"text": "b"}},
        ],
    }
    session = Session(load([file]))
    ends = []
    for question in "xy":
        timeline = session.play(asked(question, call="completion_async")).timeline
        assert timeline is not None
        ends.append(timeline.stages[-1].at)
    assert ends == [10**9, 7 * 10**9]


def test_variables_come_from_the_environment_and_reach_conditions_and_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY", "Казань")
    file = {
        "vars": {"city": "${CITY:-Тверь}", "other": "${NOT_SET_ANYWHERE:-Псков}"},
        "rules": [{"when": {"question": "{{ vars.city }}"}, "reply": {"text": "{{ vars.other }}"}}],
        "fallback": {"text": "не {{ vars.city }}"},
    }
    assert Session(load([file])).ask("Казань", "Тверь") == ["Псков", "не Казань"]


# -- which calls


@pytest.mark.parametrize(
    ("rule", "calls"),
    [
        ({"reply": {"text": "a"}}, "batch_row completion completion_async"),
        ({"reply": {"error": "ABORTED"}}, "batch_row completion completion_async completion_batch"),
        ({"reply": {}}, "batch_row completion completion_async completion_batch"),
        ({"reply": {"usage": {"completion_tokens": 1}}}, "batch_row completion completion_async"),
        ({"when": {"prompt": "кот"}, "reply": {"error": "ABORTED"}}, "generate_image"),
        ({"when": {"dataset": "d"}, "reply": {"error": "ABORTED"}}, "batch_row completion_batch"),
        ({"when": {"row": 5}, "reply": {"text": "a"}}, "batch_row"),
        ({"when": {"options": {"seed": 5}}, "reply": {"error": "ABORTED"}}, "generate_image"),
        ({"operation": {"done_after": "1s"}}, "completion_async completion_batch"),
        ({"operation": {"timeline": [{"at": "1s", "total_batches": 2}]}}, "completion_batch"),
        ({"reply": {"message": {"alternatives": []}}}, "batch_row completion completion_async"),
        ({"reply": {"message": {"task_id": "a"}}}, "completion_batch"),
        ({"call": ["completion", "batch_row"], "reply": {"text": "a"}}, "batch_row completion"),
        ({"call": "generate_image", "reply": {"error": "ABORTED"}}, "generate_image"),
    ],
)
def test_a_rule_answers_the_calls_it_names_or_every_completion_it_fits(rule: dict[str, Any], calls: str) -> None:
    assert sorted(rules(rule).rules[0].calls) == calls.split()


# -- identity


def identities(*given: dict[str, Any]) -> list[str]:
    return [rule.identity for rule in rules(*given).rules]


def test_an_unnamed_rule_is_known_by_its_content_wherever_it_stands(tmp_path: Path) -> None:
    a, b = {"reply": {"text": "a"}}, {"when": {"question": ["x", "y"]}, "reply": {"json": {"b": [1, None]}}}
    one, other = identities(a, b)
    assert one != other
    assert identities(b, {"reply": {"text": "new"}}, a)[::2] == [other, one]
    file = written(tmp_path, "# a comment\nrules:\n\n- reply:\n    text: a\n")
    assert load([file]).rules[0].identity == one


def test_any_change_to_its_content_makes_it_another_rule() -> None:
    variants: list[dict[str, Any]] = [
        {"reply": {"text": "a"}},
        {"reply": {"text": "b"}},
        {"reply": {"text": "a"}, "times": 1},
        {"reply": {"text": "a", "delay": "1s"}},
        {"reply": {"text": "a", "delay": "2s"}},
        {"reply": {"text": "a", "delay": {"p50": "1s", "p95": "2s"}}},
        {"reply": {"text": "a", "stream": {"words": 1}}},
        {"reply": {"text": "a", "stream": {"words": 1, "stall": {"after": 0, "for": "1s"}}}},
        {"reply": {"text": "a", "stream": {"words": 1, "stall": {"after": 0, "for": "forever"}}}},
    ]
    assert len(set(identities(*variants))) == len(variants)


def test_a_named_rule_is_known_by_its_name_whatever_it_says() -> None:
    assert identities({"name": "a", "reply": {"text": "x"}}) == identities({"name": "a", "reply": {"text": "y"}})


def test_rules_that_are_the_same_count_each_for_itself() -> None:
    same = {"reply": {"text": "a"}, "times": 1}
    assert len(set(identities(same, same, same))) == 3
    assert Session(rules(same, same, {"reply": {"text": "b"}})).ask("1", "2", "3") == ["a", "a", "b"]


def test_a_rule_says_where_it_stands(tmp_path: Path) -> None:
    file = written(tmp_path, "rules:\n- {name: a, reply: {text: x}}\n- reply: {text: y}\n")
    assert [rule.label for rule in load([file]).rules] == [f"a ({file}:2)", f"{file}:3"]
    assert [rule.label for rule in rules({"reply": {"text": "x"}}).rules] == ["fixtures[1] rules[0]"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"reply": {"text": "{{ vars.nope }}"}}, "no variable named vars.nope"),
        ({"when": {"response_format": "json"}, "reply": {"text": "a"}}, "no such format: json"),
    ],
)
def test_slips_that_would_only_show_in_a_call_are_told_at_load(rule: dict[str, Any], told: str) -> None:
    assert any(told in mistake for mistake in mistakes({"rules": [rule]}))


def test_a_rule_with_one_mistake_tells_its_others_as_well() -> None:
    told = mistakes({"rules": [{"when": {"turn": 1}, "reply": {"error": "UNAVALABLE"}, "times": 0}]})
    assert len(told) == 2
