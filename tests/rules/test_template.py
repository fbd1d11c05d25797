"""Templates: what they give, what is refused when they are loaded, and that none can hang or flood."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.rules.template import compile_template, compile_value, has_template

KNOWN = frozenset(("question", "n", "order", "messages", "flag", "missing"))
CONTEXT: dict[str, Any] = {
    "question": "Погода в Москве?",
    "n": 5,
    "flag": True,
    "order": {"items": [1, 2.5, None], "copy": "да"},
    "messages": [{"role": "user", "text": "раз"}, {"role": "assistant", "text": "два"}],
}


def render(source: str, **limits: Any) -> Any:
    return compile_template(source, KNOWN).render(CONTEXT, **limits)


@pytest.mark.parametrize(
    ("text", "answer"), [("{{ a }}", True), ("{% if %}", True), ("{# c #}", True), ("{}", False), ("{a}", False)]
)
def test_braces_alone_make_no_template(text: str, answer: bool) -> None:
    assert has_template(text) is answer


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("{{ n }}", 5),
        ("{{ n / 2 }}", 2.5),
        ("{{ flag }}", True),
        ("{{ none }}", None),
        ("{{ order }}", {"items": [1, 2.5, None], "copy": "да"}),
        ("{{ order.items }}", [1, 2.5, None]),
        ("{{ order.copy }}", "да"),
        ("{{ question }}", "Погода в Москве?"),
        ("{{ (1, n) }}", [1, 5]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ {'a': n} }}", {"a": 5}),
        ("{{ '5' }}", "5"),
    ],
)
def test_a_single_expression_keeps_its_type(source: str, result: Any) -> None:
    found = render(source)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("{{ n }} шт.", "5 шт."),
        ("{{ n }}\n", "5\n"),
        ("{{ n }}{{ n }}", "55"),
        ("{{ flag }}, {{ none }}, {{ order.items }}", "true, null, [1, 2.5, null]"),
        ("{{ question ~ flag }}!", "Погода в Москве?true!"),
        ("В {{ question | last_word }}", "В Москве"),
        ("{{ question | first_word | lower }}.", "погода."),
        ("{{ question | words | join('/') }}.", "Погода/в/Москве."),
        ("{{ question | fold }}.", "погода в москве?."),
        ("{{ messages | map(attribute='text') | join(', ') }}.", "раз, два."),
        ("{% for m in messages %}{{ loop.index }}{{ m.text }}{{ ', ' if not loop.last }}{% endfor %}", "1раз, 2два"),
        ("{{ order | tojson }}.", '{"items": [1, 2.5, null], "copy": "да"}.'),
        ("{% set x = n + 1 %}{{ x }}", "6"),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(n) }}", "<5>"),
        ("{{ '%s-%03d' | format('a', 7) }}.", "a-007."),
        ("{% if 'погода' in question | fold %}да{% else %}нет{% endif %}", "да"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}.", "1."),
        ("{{ missing | default('нет') }}.", "нет."),
        ("{% raw %}{{ n }}{% endraw %}", "{{ n }}"),
        ("{{ '<b>' }} & ё", "<b> & ё"),
        ("{{ [3, 1, 2] | sort | last }}{{ [1, 2] | sum }}{{ 2.567 | round(1) }}.", "332.6."),
        ("{# comment #}x", "x"),
    ],
)
def test_any_other_template_is_a_text(source: str, result: str) -> None:
    assert render(source) == result


def test_a_result_belongs_to_the_caller() -> None:
    first = render("{{ order }}")
    first["items"].append("more")
    assert CONTEXT["order"]["items"] == [1, 2.5, None]
    assert render("{{ order }}")["items"] == [1, 2.5, None]


class Lazy(Mapping[str, Any]):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.asked.append(key)
        return CONTEXT[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the whole context was read")

    def __len__(self) -> int:
        return len(CONTEXT)


def test_only_the_variables_that_are_used_are_asked_for() -> None:
    template = compile_template("{% set x = n %}{{ question }}{{ x }}{% for m in [1] %}{{ m }}{% endfor %}", KNOWN)
    assert template.names == {"question", "n"}
    context = Lazy()
    template.render(context)
    assert sorted(context.asked) == ["n", "question"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ questoin }}", "no variable named questoin; did you mean question?"),
        ("{{ zzz }}", "there are flag, messages"),
        ("{{ n | lastword }}", "no filter named lastword; did you mean last_word?"),
        ("{% if flag %}{{ n | nofilter }}{% endif %}", "no filter named nofilter"),
        ("{{ n is evn }}", "no test named evn; did you mean even?"),
        ("{{ n", "template: false"),
        ("a\nb\n{{ n n }}", "line 3 of the text"),
        ("{% include 'x' %}", "include"),
        ("{% import 'x' as y %}", "import"),
        ("{% from 'x' import y %}", "import"),
        ("{% extends 'x' %}", "extends"),
        ("{% block x %}{% endblock %}", "blocks"),
        ("{% for x in messages recursive %}{% endfor %}", "recursive"),
        ("{{ messages | random }}", "no filter named random"),
        ("{{ n | attr('x') }}", "no filter named attr"),
        ("{{ lipsum() }}", "no variable named lipsum"),
        ("{{ self }}", "no variable named self"),
        ("{{ " + "(" * 300 + "1" + ")" * 300 + " }}", "nested too deeply"),
        ("{{ " + "9" * 5000 + " }}", "digits"),
    ],
)
def test_a_mistake_is_told_when_the_template_is_compiled(source: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        compile_template(source, KNOWN)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a\n{{ order.zzz }}", "line 2 of the text: the template failed: there is no 'zzz' in this request"),
        ("{{ missing }}", "'missing' is undefined"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ n.__class__ }}", "unsafe"),
        ("{{ question.format(1) }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ '' | map('attr', '__class__') | list }} {{ ['a'] | map(attribute='__class__') | list }}", "unsafe"),
        ("{{ ().__class__.__bases__[0].__subclasses__() }}", "unsafe"),
        ("{{ dict.fromkeys([1]) }}", "unsafe"),
        ("{{ messages | map(attribute='text') }}", "add | list"),
        ("{{ question.upper }}", "call it with ()"),
        ("{{ namespace(a=1) }}", "namespace"),
        ("{{ n | length }}", "has no len"),
        ("{{ '\\ud800' }}", "surrogate"),
    ],
)
def test_what_goes_wrong_while_rendering_is_told_readably(source: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        render(source)
    assert said in str(caught.value)


GROW = "{% set ns = namespace(x=START) %}{% for i in range(200) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"


def growing(start: str, step: str) -> str:
    return GROW.replace("START", start).replace("STEP", step)


HOSTILE = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [1] * 10**9 }}",
    "{{ 9 ** 9 ** 9 ** 9 }}{{ 9 ** (9 ** 9) }}",
    "{{ 10 ** 100000 }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a'.center(10**9) }}{{ 'a'.zfill(10**9) }}",
    "{{ ['a'] | map('center', 10**9) | list }}",
    "{{ 'a' | indent(10**9) }}",
    "{{ ('a\n' * 1000) | indent(10000, true, true) }}",
    "{{ ('a ' * 40000) | wordwrap(1, wrapstring='x' * 1000) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '%.999999999f' | format(1.5) }}",
    "{{ ('%(a)s' * 1000) % {'a': 'x' * 100000} }}",
    "{{ ('%(' * 5000) % {} }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ ('a' * 100000) | replace('', 'b' * 100000) }}",
    "{{ range(1000) | join('x' * 100000) }}",
    "{{ range(10**12) | list }}",
    "{{ range(3) | slice(10**9) | list }}",
    "{{ range(3) | batch(10**9, 0) | list }}",
    "{{ 1.5 | round(10**9) }}",
    "{{ [[1]] | sum(start=[]) }}",
    "{{ {} | tojson(indent=10**9) }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}" + "x" * 5000 + "{% endfor %}",
    "{% set x %}{% for a in range(99999) %}" + "x" * 5000 + "{% endfor %}{% endset %}",
    "{% for a in range(99999) %}{{ 'x' * 5000 }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n and m(n - 1) %}{% endif %}{% if n and m(n - 1) %}{% endif %}{% endmacro %}{{ m(45) }}",
    "{{ range(99999) | select('in', range(99999) | map('string') | list) | list }}",
    "{% set x = range(99999) | list %}{% for i in x %}{% if 'a' in x %}{% endif %}{% endfor %}",
    growing("'ab'", "ns.x ~ ns.x"),
    growing("'ab'", "ns.x + ns.x"),
    growing("'ab'", "ns.x * 2"),
    growing("'ab'", "[ns.x, ns.x] | join"),
    growing("'ab'", "'%s%s' | format(ns.x, ns.x)"),
    growing("'ab'", "ns.x | replace('a', ns.x)"),
    growing("2", "ns.x * ns.x"),
    growing("1", "ns.x + ns.x") + growing("2", "ns.x ** 2"),
    growing("[1]", "[ns.x, ns.x]"),
    growing("[1]", "ns.x + ns.x"),
    growing("[1]", "(ns.x, ns.x)"),
    growing("[1]", "{'a': ns.x, 'b': ns.x}"),
    growing("[1]", "dict(a=ns.x, b=ns.x)"),
    growing("[1]", "namespace(a=ns.x, b=ns.x)"),
    growing("[1]", "[none] * 50 | map('default', ns.x, true) | list"),
    growing("1", "namespace(a=ns)"),
    growing("['a']", "ns.x | map('upper')").replace("200", "90000") + "{{ ns.x | list }}",
    growing("['a']", "[ns.x]").replace("200", "90000"),
    growing("{}", "ns.x.items()").replace("200", "90000") + "{{ ns.x | list | list }}{{ 1 / 0 }}",
]


@pytest.mark.parametrize("source", HOSTILE, ids=[source[:60] for source in HOSTILE])
def test_a_hostile_template_ends_in_time_with_an_error(source: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"\w"):
        render(source, seconds=0.3)
    assert time.monotonic() - began < 2


def test_the_limits_are_parameters() -> None:
    assert render("{{ 'a' * 100 }}", size=100) == "a" * 100
    with pytest.raises(ValueError, match="more than 99 characters"):
        render("{{ 'a' * 100 }}", size=99)
    with pytest.raises(ValueError, match=r"more than 0\.01 s"):
        render("{% for i in range(90000) %}{% for j in range(9) %}{% endfor %}{% endfor %}", seconds=0.01)


VOCABULARY = (  # noqa: SIM905
    "{{ }} {% %} {# #} for in if endfor endif set = question n order | join ( ) [ ] 'a' range 9 * ** + ~ . items "
    "macro m endmacro x upper is defined not loop call filter with endwith % $ namespace"
).split(" ")


@settings(max_examples=300)
@given(st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join))
def test_whatever_is_written_only_ever_raises_value_errors(source: str) -> None:
    try:
        render("{{ " + source + " }}", seconds=0.2)
        render(source, seconds=0.2)
    except ValueError:
        return


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.tuples(x, x)))
def test_a_value_comes_out_as_it_went_in(value: Any) -> None:
    def listed(one: Any) -> Any:
        return [listed(x) for x in one] if isinstance(one, (list, tuple)) else one

    assert compile_template("{{ n }}", KNOWN).render({"n": value}) == listed(value)


# -- values with templates inside


def test_templates_are_found_inside_values_and_keep_their_types() -> None:
    value = {"a": ["x", "{{ n }}", {"b": "{{ question | last_word }}!"}], "c": [1, None], "{{ n }}": 1}
    made = compile_value(value, KNOWN, lambda path, text: pytest.fail(text))
    assert made is not None
    result = made(CONTEXT)
    assert result == {"a": ["x", 5, {"b": "Москве!"}], "c": [1, None], "{{ n }}": 1}
    result["c"].append(2)
    assert made(CONTEXT)["c"] == [1, None]


@pytest.mark.parametrize("value", [None, 1, "text", {"a": ["b", {"c": 1.5}]}, []])
def test_a_value_without_templates_is_constant(value: Any) -> None:
    assert compile_value(value, KNOWN, lambda path, text: pytest.fail(text)) is None


def test_mistakes_inside_values_are_told_at_their_places() -> None:
    found: dict[tuple[str | int, ...], str] = {}
    compile_value({"a": ["{{ zzz }}", "{{ n"], "b": "{{ n | no }}"}, KNOWN, found.__setitem__)
    assert sorted(found) == [("a", 0), ("a", 1), ("b",)]


def test_an_error_while_rendering_says_where_in_the_value() -> None:
    made = compile_value({"a": ["{{ 1 / 0 }}"]}, KNOWN, lambda path, text: pytest.fail(text))
    assert made is not None
    with pytest.raises(ValueError, match=r"a\.0: the template failed: division by zero"):
        made(CONTEXT)


def test_a_bottomless_value_is_refused() -> None:
    value: Any = "{{ n }}"
    for _ in range(5000):
        value = [value]
    found: list[str] = []
    assert compile_value(value, KNOWN, lambda path, text: found.append(text)) is None
    assert "nested" in found[0]
