"""What is asked and by which rules it is answered, made by number: the same in every run.

A question is about 1 KB of Russian prose with a number, so that no two of the hundreds asked are alike, and a key that
says which rule it is for. Rules between the first and the last are of mixed operators and match none of the questions,
though they look for words, models and patterns of the same kind.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from emulator.api import METHODS, CompletionRequest

FOLDER = "b1gbenchmarks"
MODEL = f"gpt://{FOLDER}/yandexgpt/latest"
QUESTIONS = 2048
"""How many distinct ones are asked, in turn, and so again and again, as suites and load tests do."""

AGAIN, NEW = 1024, 6144
"""Of so many in turn the emulator keeps the answers, three times over; and so many that each is new to it."""

FIRST, LAST, NONE = "Ключ-начало", "Ключ-конец", "Ключ-никакой"
COMPLETION = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"

REPLY = (
    "Здравствуйте! Заказ уже собран и передан в доставку, курьер позвонит за час. "
    "Если планы поменялись, ответьте на это сообщение, и мы выберем другое время."
)
_SENTENCES = (
    "Подскажите, пожалуйста, где сейчас мой заказ и когда его привезут?",
    "Я оформил его в четверг вечером через приложение и сразу оплатил картой.",
    "В письме сказано, что посылка передана в службу доставки, но трек не обновляется.",
    "Оператор вчера обещал перезвонить до обеда, и звонка так и не было.",
    "Мне важно получить всё до выходных, иначе придётся отменить поездку.",
    "Адрес тот же, что и в прошлый раз: подъезд со двора, домофон не работает.",
    "Если можно, поменяйте время на вечер после семи, днём никого нет дома.",
    "И ещё вопрос: получится ли вернуть одну из вещей, если размер не подойдёт?",
)


def question(n: int, key: str) -> str:
    """The nth question for the rule that looks for `key`; about 560 characters, 1 KB on the wire."""
    count = len(_SENTENCES)
    told = " ".join(_SENTENCES[(n // count**k + k * n) % count] for k in range(7))[:500]
    return f"Вопрос номер {n + 100_000}. {told} {key}, спасибо."


@cache
def requests(key: str, *, stream: bool = False, count: int = QUESTIONS) -> list[bytes]:
    """So many distinct requests of a completion, serialized, for the rule that looks for `key`."""
    made = []
    for n in range(count):
        request = CompletionRequest(model_uri=MODEL)
        request.completion_options.stream = stream
        request.completion_options.temperature.value = 0.3
        request.completion_options.max_tokens.value = 2000
        request.messages.add(role="system", text="Отвечай коротко.")
        request.messages.add(role="user", text=question(n, key))
        made.append(request.SerializeToString())
    return made


def rules(count: int, *, patterns: int = 0) -> str:
    """A fixture file of so many rules: the first answers what has the key FIRST, the last (if there is another) LAST.

    `patterns` of those between are regular expressions with no literal that an index could look for.
    """
    made = [_rule("first", f"contains: {FIRST.upper()}")]
    made += [_pattern(n) if n < patterns else _mixed(n) for n in range(count - 2)]
    if count > 1:
        made.append(_rule("last", f"word: [{LAST.lower()}*]"))
    return "rules:\n" + "".join(made[:count])


def fixture(folder: Path, count: int, *, patterns: int = 0) -> Path:
    """The file of these rules, written once."""
    path = folder / f"rules-{count}-{patterns}.yaml"
    if not path.exists():
        path.write_text(rules(count, patterns=patterns), encoding="utf-8")
    return path


def _rule(name: str, condition: str, reply: str = REPLY, model: str = "") -> str:
    when = f"      question: {{{condition}}}\n" + (f"      model: '{model}'\n" if model else "")
    return f"  - name: {name}\n    call: completion\n    when:\n{when}    reply:\n      text: '{reply}'\n"


def _mixed(n: int) -> str:
    condition, model = {
        0: (f"contains: товар{n:05}", ""),
        1: (f"equals: 'Где товар {n}?'", ""),
        2: (f"word: ['возврат{n:05}*', отмена{n}]", ""),
        3: (f"matches: '(?i)\\bскидк[аиу] {n} (руб|проц)'", ""),
        4: (f"glob: 'Купон {n} *'", ""),
        5: (f"matches: 'ORD-{n:05}-[A-Z]{{2}}'", ""),
        6: (f"contains: 'склад №{n:05}'", "yandexgpt*"),
        7: (f"any: [{{contains: 'Тариф-{n}'}}, {{word: 'абонемент{n}'}}], not: {{contains: спасибо}}", ""),
        8: (f"contains: [спасибо, 'благодарю{n}']", f"yandexgpt-{n}"),
    }[n % 9]
    return _rule(f"rule-{n}", condition, f"Ответ {n}: {REPLY}", model)


def _pattern(n: int) -> str:
    return _rule(f"pattern-{n}", f"matches: '\\b[0-9]{{1,2}}[./-][0-9]{{1,2}}[./-][0-9]{{{n % 3 + 2}}}\\b'")


def templates() -> str:
    """One rule whose reply is a template: the question's last word, a variable, and a choice."""
    text = "{{ question | last_word }}! {% if turn == 1 %}Заказ собран{% else %}Заказ в пути{% endif %}, {{ model }}."
    return "rules:\n" + _rule("template", f"contains: {FIRST}", text + REPLY[13:])


def streamed(every: str = "") -> str:
    """One rule whose reply is 20 chunks, so far apart."""
    pace = f"\n        every: {every}" if every else ""
    return (
        "rules:\n" + _rule("streamed", f"contains: {FIRST}").rstrip() + f"\n      stream:\n        chunks: 20{pace}\n"
    )


EMBEDDING = "/yandex.cloud.ai.foundation_models.v1.EmbeddingsService/TextEmbedding"


@cache
def texts(count: int = QUESTIONS) -> list[bytes]:
    """So many distinct requests of an embedding, serialized."""
    make = METHODS[EMBEDDING].input
    uri = f"emb://{FOLDER}/text-search-doc/latest"
    return [make(model_uri=uri, text=question(n, FIRST)).SerializeToString() for n in range(count)]


def embedding() -> str:
    """One rule that answers them, with a vector of 40 numbers, 343 bytes in all."""
    vector = ", ".join(f"{n / 64}" for n in range(40))
    return (
        f"rules:\n  - name: embedding\n    when:\n      text: {{contains: {FIRST}}}\n"
        f"    reply:\n      embedding: [{vector}]\n"
    )


def pending(template: bool) -> str:
    """One rule for asynchronous completions, whose operations are pending at the first Get and done at the second; no
    two replies of a template are the same.
    """
    text = "{{ call }}, {{ question | last_word }}! " + REPLY if template else REPLY
    return (
        f"rules:\n  - name: pending\n    call: completion_async\n    when:\n      question: {{contains: {FIRST}}}\n"
        f"    reply:\n      text: '{text}'\n    operation:\n      done_after_polls: 2\n"
    )
