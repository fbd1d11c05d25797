"""`fm-emulator try`: what would be answered, by which rule, and why others lost; no server is needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..calls import METHODS_BY_CALL, TEXTS
from ..config import from_values
from ..errors import Status, UsageError
from .commands import options_of

MODELS = {
    "generate_image": ("art", "yandex-art"),
    "text_embedding": ("emb", "text-search-doc"),
    "classify": ("cls", "yandexgpt"),
    "few_shot_classify": ("cls", "yandexgpt"),
}
"""Scheme and model where it is not yandexgpt for text."""

ROW = "batch_row"
"""A row of a batch is no method, and a completion as a request."""


@click.command("try")
@click.argument("question", default="", metavar="[TEXT]")
@options_of("fixtures", "seed", "strict", "lenient")
@click.option(
    "--call",
    "name",
    type=click.Choice([*METHODS_BY_CALL, ROW]),
    default="completion",
    show_default=True,
    help="Which call.",
)
@click.option("--model", default=None, metavar="MODEL", help="Model: a name, name/branch or a full URI.")
@click.option("--folder", default="b1gtest", show_default=True, metavar="ID", help="The folder of the model's URI.")
@click.option("--system", default=None, metavar="TEXT", help="A system message before the question.")
@click.option("--tool", "tools", multiple=True, metavar="NAME", help="A function the request offers; repeatable.")
@click.option("--tool-result", "results", multiple=True, metavar="NAME=TEXT", help="What that function returned.")
@click.option("--label", "labels", multiple=True, metavar="NAME", help="A label to classify by; repeatable.")
@click.option("--task", default="Определи класс текста", metavar="TEXT", help="What the labels are about.")
@click.option("--dim", default=None, type=int, metavar="N", help="How many numbers an embedding should have.")
@click.option("--row", default=1, type=click.IntRange(1), metavar="N", help="Which row of the batch, from 1.")
@click.option("--dataset", default=None, metavar="ID", help="The dataset that the row stands in.")
@click.option("--stream", is_flag=True, help="Show the chunks of a stream and their instants.")
@click.option("--request", "file", default=None, metavar="FILE", help="The whole request as JSON; - is standard input.")
@click.option("--metadata", "pairs", multiple=True, metavar="KEY=VALUE", help="Request metadata; may be given again.")
@click.option(
    "--repeat",
    default=1,
    show_default=True,
    type=click.IntRange(1, 100),
    help="How often to make the call; the last decides the exit status.",
)
@click.pass_context
def command(ctx: click.Context, /, question: str, **given: Any) -> None:
    """Show what would be answered to TEXT (a question, a prompt, a text, or a dataset's id), by which rule, and why
    others lost.
    """
    from ..engine.book import load

    config = from_values({name: given[name] for name in ("fixtures", "seed", "strict", "lenient")})
    request = _request(question, given)
    trial = _Trial(load(config.fixtures), config, given["name"], request, _metadata(given["pairs"]))
    trial.row, trial.dataset = given["row"], given["dataset"] or ""
    failed = False
    for n in range(given["repeat"]):
        if given["repeat"] > 1:
            click.echo(f"— call {n + 1}")
        failed = not trial.run()
    ctx.exit(1 if failed else 0)


def _metadata(pairs: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((key.lower(), value) for key, value in (_pair("metadata", pair) for pair in pairs))


def _pair(option: str, pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals or not key:
        raise UsageError(f"{option}: {pair!r} is not of the form NAME=TEXT")
    return key, value


def _request(question: str, given: dict[str, Any]) -> Any:
    from ..api import METHODS

    name = given["name"]
    cls = METHODS[METHODS_BY_CALL["completion" if name == ROW else name]].input
    if given["file"] is not None:
        return _request_file(given["file"], cls)
    if not question:
        raise UsageError("give a TEXT, or the whole request with --request FILE")
    request = cls(model_uri=_uri(given["model"], given["folder"], name))
    if name == "completion_batch":
        request.source_dataset_id = question
    elif name == "generate_image":
        request.messages.add().text = question
    elif name in TEXTS:
        request.text = question
        _add_choices(request, given)
    else:
        _add_conversation(request, question, given)
    return request


def _add_conversation(request: Any, question: str, given: dict[str, Any]) -> None:
    request.completion_options.stream = given["stream"]
    for role, text in (("system", given["system"]), ("user", question)):
        if text is not None:
            message = request.messages.add()
            message.role, message.text = role, text
    _add_tools(request, given["tools"], [_pair("tool-result", pair) for pair in given["results"]])


def _add_choices(request: Any, given: dict[str, Any]) -> None:
    """What a request about a text may ask for besides."""
    if given["name"] == "text_embedding" and given["dim"] is not None:
        request.dim.value = given["dim"]
    if given["name"] == "few_shot_classify":
        if not given["labels"]:
            raise UsageError("label: say what to choose from, as in --label спорт --label культура")
        request.task_description = given["task"]
        request.labels.extend(given["labels"])


def _add_tools(request: Any, tools: tuple[str, ...], results: list[tuple[str, str]]) -> None:
    for name in dict.fromkeys((*tools, *(name for name, _ in results))):
        request.tools.add().function.name = name
    if not results:
        return
    called = request.messages.add(role="assistant")
    returned = request.messages.add(role="user")
    for name, text in results:
        called.tool_call_list.tool_calls.add().function_call.name = name
        result = returned.tool_result_list.tool_results.add().function_result
        result.name, result.content = name, text


def _uri(model: str | None, folder: str, name: str) -> str:
    if model is not None and "://" in model:
        return model
    scheme, default = MODELS.get(name, ("gpt", "yandexgpt"))
    model = model or default
    return f"{scheme}://{folder}/{model}" + ("" if "/" in model else "/latest")


def _request_file(path: str, cls: Any) -> Any:
    from ..api import from_dict

    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = raw.decode("utf-8")
        return from_dict(json.loads(text), cls)
    except OSError as failed:
        raise UsageError(f"request: {path} can't be read: {failed.strerror}") from None
    except ValueError as failed:
        raise UsageError(f"request: {path}: {failed}") from None
    except RecursionError:
        raise UsageError(f"request: {path}: it is nested too deep") from None


class _Trial:
    """A session without a server, in which the same request is made again and again."""

    def __init__(self, book: Any, config: Any, name: str, request: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        from ..sessions import Session, Shared

        self._session = Session("", Shared(book), config)
        self._lenient = config.lenient
        self._name, self._request, self._metadata = name, request, metadata
        self.row, self.dataset = 1, ""

    def run(self) -> bool:
        """Make the call and show what came of it; whether it went well."""
        from ..call import Call
        from ..engine.choose import apply, choose
        from ..engine.explain import paste, short, story
        from ..gates.validation import check
        from ..rules.subject import Row, Subject
        from ..rules.text import Text

        path = METHODS_BY_CALL["completion" if self._name == ROW else self._name]
        raw = self._request.SerializeToString()
        call = Call(path, raw, self._metadata, "try", message=self._request, session=self._session)
        try:
            if not self._lenient:
                check(call)
        except Status as refused:
            click.echo(f"refused before any rule is asked: {refused}")
            return False
        session = self._session
        states = session.state.scenario
        if self._name == ROW:
            dataset = Text(self.dataset) if self.dataset else None
            subject: Subject = Row(self._request, self.row, dataset, call.texts, states)
        else:
            subject = Subject(self._name, self._request, raw, call.texts, states)
        told = story(session.book, session.state, subject)
        play, delta = choose(session.book, session.state, subject, session.seed)
        well = False
        if play.unmatched and session.strict:
            click.echo(f"FAILED_PRECONDITION: {short(session.book, session.state, subject, 'ID')}")
        else:
            apply(session.state, delta)
            well = self._show(play)
        click.echo(f"\nanswered by: {play.rule}" if well or not play.unmatched else "")
        click.echo(told)
        if play.unmatched:
            click.echo(f"\na rule that matches it:\n\n{paste(subject)}")
        return well

    def _show(self, play: Any) -> bool:
        if play.delay:
            click.echo(f"after {play.delay / 1e9:g} s")
        if play.failure is not None:
            click.echo(str(play.failure))
            return False
        for note in play.notes:
            click.echo(f"note: {note}")
        if play.cutting is not None and self._name == "completion":
            return _show_steps(play)
        if play.timeline is not None:
            _show_timeline(play.timeline)
        _show_final(play.final())
        return True


def _show_steps(play: Any) -> bool:
    from ..replies.streams import FOREVER

    at, sent = play.delay, ""
    for step in play.steps():
        if step.wait == FOREVER:
            click.echo("… then nothing, until the client leaves")
            return True
        at += step.wait
        if step.failure is not None:
            click.echo(f"{at / 1e9:8.3f} s  {step.failure}")
            return False
        if step.message is None:
            continue
        alternative = step.message.alternatives[0] if step.message.alternatives else None
        if alternative is None or alternative.message.WhichOneof("Content") != "text" or not play.cutting.streaming:
            _show_final(step.message)
            continue
        text, status = alternative.message.text, alternative.status
        label = {1: "PARTIAL", 2: "TRUNCATED_FINAL", 3: "FINAL", 4: "CONTENT_FILTER"}.get(status, str(status))
        tokens = step.message.usage.completion_tokens
        click.echo(f"{at / 1e9:8.3f} s  {label:<8} {tokens:>5} tokens  …{text[len(sent) :]!r}")
        sent = text
    return True


def _show_timeline(timeline: Any) -> None:
    for stage in timeline.stages:
        when = f"{stage.at / 1e9:g} s" if stage.at is not None else f"Get {stage.poll}"
        error = f" {stage.error.code.name}" if stage.error is not None else ""
        click.echo(f"at {when}: {stage.status}{error}{', done' if stage.done else ''}")
    for n, fault in timeline.faults.items():
        click.echo(f"Get {n} fails: {fault.code.name}")


def _show_final(final: Any) -> None:
    from ..api import to_dict

    if final is None:
        return
    shown = to_dict(final)
    alternatives = shown.get("alternatives", [])
    if len(alternatives) == 1 and "text" in alternatives[0].get("message", {}):
        click.echo(alternatives[0]["message"]["text"])
        status = alternatives[0].get("status", "").removeprefix("ALTERNATIVE_STATUS_")
        usage = shown.get("usage", {})
        click.echo(
            f"({status}, {usage.get('input_text_tokens', '0')} + "
            f"{usage.get('completion_tokens', '0')} tokens, {shown.get('model_version', '')})"
        )
        return
    if "image" in shown:
        shown["image"] = f"{len(final.image)} bytes"
    for name, shorten in _SHORTENED.items():
        if name in shown:
            shown[name] = shorten(getattr(final, name))
    click.echo(json.dumps(shown, ensure_ascii=False, indent=2))


_SHORTENED: dict[str, Callable[[Any], Any]] = {
    "tokens": lambda tokens: f"{len(tokens)} tokens: {' '.join(token.text for token in tokens)}",
    "embedding": lambda numbers: (
        f"{len(numbers)} numbers: {', '.join(f'{number:.4g}' for number in numbers[:_SHOWN])}"
        + (", …" if len(numbers) > _SHOWN else "")
    ),
    "predictions": lambda predictions: {p.label: round(p.confidence, 4) for p in predictions},
}
_SHOWN = 4
