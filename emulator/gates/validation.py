"""Is the request one that the real service would take? If not, refuse it as the real service does.

What was seen of the real service is worded in `wording` to the letter; bounds that are documented but whose refusal
nobody has seen are worded as a sister API does. `--lenient` leaves this gate open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from .. import wording
from ..call import Call
from ..calls import METHODS_BY_CALL
from ..errors import Code, Status
from ..replies import tokens
from ..replies.embedding import MOST_DIM
from ..rules.operators import Model
from ..rules.subject import said_in
from . import datasets

_TEXT_MODEL = re.compile(r"(gpt|ds)://[^/\s]+/\S+")
_EMBEDDING_MODEL = re.compile(r"emb://[^/\s]+/\S+")
_CLASSIFIER = re.compile(r"cls://[^/\s]+/\S+")
_IMAGE_MODEL = re.compile(r"art://[^/\s]+/\S+")
ROLES = ("system", "user", "assistant")
LONGEST_TEXT = 100_000
LONGEST_PROMPT = 500
FEWEST_LABELS, MOST_LABELS = 2, 20
CONTEXT: Mapping[str, int] = {
    "yandexgpt": 32_768,
    "yandexgpt-lite": 32_768,
    "yandexgpt-32k": 32_768,
    "aliceai-llm": 32_768,
    "llama": 8_192,
    "llama-lite": 8_192,
}
"""Input tokens that a model takes; of others nothing is known, and nothing is refused."""

_SMALLEST = min(CONTEXT.values())


def check(call: Call) -> None:
    """Raise the refusal that the real service would give to `call.message`."""
    of_method = CHECKS.get(call.method)
    if of_method is not None:
        of_method(call)


def _completion(call: Call) -> None:
    _prompt(call)
    # A token is at least one character, so short requests need no count.
    if len(call.request) <= _SMALLEST - 1000:
        return
    request = call.message
    limit = CONTEXT.get(Model.parse(request.model_uri).name)
    if limit is not None and len(call.request) > limit - 1000:
        used = tokens.input_tokens(request.messages, request.tools)
        if used > limit:
            raise _in_session(call, wording.too_many_tokens(used, limit))


def _prompt(call: Call) -> None:
    """A completion's request, however long its prompt is."""
    request = call.message
    _model(request.model_uri, _TEXT_MODEL)
    _options(request.completion_options)
    said = call.said = said_in(request)
    if not said:
        raise _invalid(wording.validation("messages", wording.REQUIRED))
    short = len(call.request) <= LONGEST_TEXT
    for i, (role, text) in enumerate(said):
        if role not in ROLES:
            raise _in_session(call, wording.invalid_role(role))
        if text is None or not text.raw:
            if request.messages[i].WhichOneof("Content") in (None, "text"):
                raise _in_session(call, wording.EMPTY_TEXT)
        elif not short:
            _text(call, text.raw)


def _text(call: Call, text: str) -> None:
    if not 0 < len(text) <= LONGEST_TEXT:
        raise _in_session(call, wording.text_length(len(text)))


def _batch(call: Call) -> None:
    _model(call.message.model_uri, _TEXT_MODEL)
    _options(call.message.completion_options)
    if not call.message.source_dataset_id:
        raise _invalid(wording.validation("source_dataset_id", wording.REQUIRED))


def _image(call: Call) -> None:
    request = call.message
    _model(request.model_uri, _IMAGE_MODEL)
    if not any(message.text for message in request.messages):
        raise _invalid(wording.validation("messages", wording.REQUIRED))
    size = sum(len(message.text) for message in request.messages)
    if size > LONGEST_PROMPT:
        raise _invalid(wording.prompt_too_long(size))
    options = request.generation_options
    if options.mime_type not in ("", "image/jpeg"):
        raise _invalid(wording.validation("mime_type", "Value must be image/jpeg"))
    if options.seed < 0:
        raise _invalid(wording.validation("seed", wording.in_range(0, 2**63 - 1)))
    ratio = options.aspect_ratio
    if ratio.width_ratio < 0 or ratio.height_ratio < 0 or bool(ratio.width_ratio) != bool(ratio.height_ratio):
        raise _invalid(wording.validation("aspect_ratio", "Both sides must be more than 0"))


def _tokenize(call: Call) -> None:
    _model(call.message.model_uri, _TEXT_MODEL)
    _text(call, call.message.text)


def _embedding(call: Call) -> None:
    request = call.message
    _model(request.model_uri, _EMBEDDING_MODEL)
    if request.HasField("dim") and not 1 <= request.dim.value <= MOST_DIM:
        raise _invalid(wording.validation("dim", wording.in_range(1, MOST_DIM)))
    _text(call, request.text)


def _classify(call: Call) -> None:
    _model(call.message.model_uri, _CLASSIFIER)
    _text(call, call.message.text)


def _few_shot_classify(call: Call) -> None:
    request = call.message
    _model(request.model_uri, _CLASSIFIER)
    if not request.task_description:
        raise _invalid(wording.validation("task_description", wording.REQUIRED))
    if not FEWEST_LABELS <= len(request.labels) <= MOST_LABELS:
        raise _invalid(wording.validation("labels", wording.how_many(FEWEST_LABELS, MOST_LABELS)))
    if "" in request.labels:
        raise _invalid(wording.validation("labels", wording.REQUIRED))
    for sample in request.samples:
        if not sample.text or not sample.label:
            raise _invalid(wording.validation("samples", wording.REQUIRED))
    _text(call, request.text)


@lru_cache(256)
def _known(uri: str, pattern: re.Pattern[str]) -> bool:
    return pattern.fullmatch(uri) is not None


def _model(uri: str, pattern: re.Pattern[str]) -> None:
    if not (_known(uri, pattern) if len(uri) <= 256 else pattern.fullmatch(uri)):
        raise _invalid(wording.INVALID_MODEL_URI)


def _options(options: Any) -> None:
    if options.HasField("temperature") and not 0 <= options.temperature.value <= 1:
        raise _invalid(wording.validation("temperature", wording.in_range(0, 1)))
    if options.HasField("max_tokens") and options.max_tokens.value <= 0:
        raise _invalid(wording.validation("max_tokens", "Value must be greater than 0"))


def _invalid(text: str) -> Status:
    return Status(Code.INVALID_ARGUMENT, text)


def _in_session(call: Call, text: str) -> Status:
    folder = Model.parse(call.message.model_uri).folder or call.header("x-folder-id") or ""
    client_id = call.header("x-client-request-id") or call.session.seed.uuid("client", call.request_id)
    internal = call.session.seed.uuid("internal", call.request_id)
    return _invalid(wording.session(call.request_id, client_id, folder, internal, text))


def _tasks(call: Call) -> None:
    if not call.message.folder_id:
        raise _invalid(wording.validation("folder_id", wording.REQUIRED))


CHECKS: Mapping[str, Callable[[Call], None]] = {
    METHODS_BY_CALL["completion"]: _completion,
    METHODS_BY_CALL["completion_async"]: _completion,
    METHODS_BY_CALL["completion_batch"]: _batch,
    METHODS_BY_CALL["generate_image"]: _image,
    METHODS_BY_CALL["tokenize"]: _tokenize,
    METHODS_BY_CALL["tokenize_completion"]: _prompt,
    METHODS_BY_CALL["text_embedding"]: _embedding,
    METHODS_BY_CALL["classify"]: _classify,
    METHODS_BY_CALL["few_shot_classify"]: _few_shot_classify,
    **datasets.CHECKS,
    "/yandex.cloud.ai.batch_inference.v1.BatchInferenceService/List": _tasks,
}
"""By the path of the method; requests of others are never refused."""
