"""The service's own sentences, in one place.

Texts under "seen" were reported of the real service and are kept to the letter; nothing is known of those under
"chosen", which follow the manner of a sister API. Where a text is learnt, it changes here and nowhere else.
"""

from __future__ import annotations

from zlib import crc32

from .errors import Code

# -- seen

REFUSAL = "Я не могу обсуждать эту тему. Давайте поговорим о чём-нибудь ещё."
INVALID_MODEL_URI = "invalid model_uri"
EMPTY_TEXT = "empty message text"
UNSAFE_IMAGE = "it is not possible to generate an image from this request because it may violate the terms of use"


def session(request_id: str, client_request_id: str, folder: str, internal_id: str, text: str) -> str:
    """A refusal from inside a generation session, as the service introduces it."""
    return (
        f"Error in session internal_id={internal_id}&request_id={request_id}"
        f"&client_request_id={client_request_id}&folder_id={folder}: {text}"
    )


def invalid_role(role: str) -> str:
    """A message of another role than system, user or assistant."""
    return f"invalid message role '{role}'"


def text_length(n: int) -> str:
    """A text of `n` characters, which are too many."""
    return f"text length is {n}, which is outside the range (0, 100000]"


def too_many_tokens(n: int, limit: int) -> str:
    """A prompt of `n` tokens for a model that takes `limit`."""
    return f"number of input tokens must be no more than {limit}, got {n}"


def prompt_too_long(n: int) -> str:
    """An image prompt of `n` characters."""
    return f"Prompt positive size {n} exceeds limit (500)"


TOKEN_INVALID = "The token is invalid"
FOLDER_NEEDED = "You have to specify folder ID for user account"


def unknown_api_key(key: str) -> str:
    """An API key that nobody has, or has any more; the checksum in the service's mask is of its own making."""
    shown = "****" if len(key) <= 8 else f"{key[:4]}****{key[-4:]} ({crc32(key.encode()):08X})"
    return f"Unknown api key '{shown}'"


def other_folder(folder: str, own: str) -> str:
    """A request about a folder other than its service account's own."""
    return f"Specified folder ID '{folder}' does not match with service account folder ID '{own}'"


def quota(call: str, kind: str, allowed: int) -> str:
    """A call of that name that meets a limit; both kinds were seen for completions, at once and by the hour."""
    what = _QUOTAS.get(call, call)
    if kind == "at_once":
        return f"ai.{what}SessionsCount.count gauge quota limit exceed: allowed {allowed} requests"
    per = kind.removeprefix("per_").capitalize()
    return f"ai.{what}RequestsPer{per}.rate rate quota limit exceed: allowed {allowed} requests"


_QUOTAS = {
    "completion": "textGenerationCompletion",
    # chosen, from here on
    "completion_async": "textGenerationAsyncCompletion",
    "completion_batch": "textGenerationBatchCompletion",
    "generate_image": "imageGeneration",
    "tokenize": "textGenerationTokenize",
    "tokenize_completion": "textGenerationTokenizeCompletion",
    "text_embedding": "textEmbedding",
    "classify": "textClassification",
    "few_shot_classify": "fewShotTextClassification",
    "operations": "operationGet",
    "datasets": "dataset",
    "batches": "batchInference",
}

QUOTA_MET: dict[str, tuple[str, int]] = {
    "completion": ("at_once", 10),
    "completion_async": ("per_second", 10),
    "completion_batch": ("per_hour", 10),
    "generate_image": ("per_minute", 500),
    "tokenize": ("per_second", 50),
    "tokenize_completion": ("per_second", 50),
    "text_embedding": ("per_second", 10),
    "classify": ("per_second", 1),
    "few_shot_classify": ("per_second", 1),
    "operations": ("per_second", 50),
}
"""For each call the documented limit that a client meets first, and what it allows."""

SEEN_BY_CODE = {
    Code.RESOURCE_EXHAUSTED: quota("completion", *QUOTA_MET["completion"]),
    Code.UNAUTHENTICATED: "IAM token or API key has to be passed in request",
    Code.PERMISSION_DENIED: (
        "Permission to [resource-manager.folder {folder}, resource-manager.cloud {cloud}, "
        "organization-manager.organization {organization}] denied"
    ),
}
"""Messages for a scripted status that names a code alone."""

# -- chosen

CHOSEN_BY_CODE = {
    Code.CANCELLED: "The operation was cancelled",
    Code.UNKNOWN: "Unknown error",
    Code.INVALID_ARGUMENT: "Request validation error",
    Code.DEADLINE_EXCEEDED: "Deadline exceeded",
    Code.NOT_FOUND: "Not found",
    Code.ALREADY_EXISTS: "Already exists",
    Code.FAILED_PRECONDITION: "Failed precondition",
    Code.ABORTED: "Aborted",
    Code.OUT_OF_RANGE: "Out of range",
    Code.UNIMPLEMENTED: "Not implemented",
    Code.INTERNAL: "Internal server error",
    Code.UNAVAILABLE: "Service is temporarily unavailable, try again later",
    Code.DATA_LOSS: "Data loss",
}


def validation(field: str, text: str) -> str:
    """A request's field that is out of bounds, in a sister API's manner."""
    return f"Validation error:\n{field}: {text}"


REQUIRED = "Field is required"


def another_request(key: str) -> str:
    """An idempotency key that came with a request of another content before."""
    return f"idempotency-key {key[:100]} was used for a different request; every request needs a key of its own"


def in_range(low: object, high: object) -> str:
    """The remark on a value below `low` or above `high`."""
    return f"Value must be in the range of {low} to {high}"


def how_many(low: int, high: int) -> str:
    """The remark on a list of fewer than `low` or more than `high`."""
    return f"Number of elements must be in the range of {low} to {high}"


def operation_not_found(operation_id: str) -> str:
    """An operation that never was, or is no longer kept."""
    return f"Operation {operation_id[:100]} not found"


OAUTH_INVALID = "OAuth token is invalid or expired"
TOKEN_NOT_FOUND = "IAM token not found"


def account_not_found(account: str) -> str:
    """A service account that nobody has."""
    return f"Service account {account[:100]} not found"


def not_in_batch(model_uri: str) -> str:
    """The error of a batch whose model only answers at once."""
    return f"Model {model_uri[:200]} is not supported in batch inference"


def dataset_not_found(dataset_id: str) -> str:
    """A dataset that never was, or was deleted."""
    return f"Dataset {dataset_id[:100]} not found"


def at_most_long(n: int) -> str:
    """The remark on a text of more than `n` characters."""
    return f"Length must be less than or equal to {n}"


def for_code(code: Code, *, folder: str = "", call: str = "") -> str:
    """The message of a status that was scripted by its code alone, for a call of that name."""
    if call == "generate_image" and code is Code.INVALID_ARGUMENT:
        return UNSAFE_IMAGE
    if code is Code.RESOURCE_EXHAUSTED and call in QUOTA_MET:
        return quota(call, *QUOTA_MET[call])
    text = SEEN_BY_CODE.get(code) or CHOSEN_BY_CODE[code]
    return (
        text.format(
            folder=folder or "b1g00000000000000000", cloud="b1g00000000000000001", organization="bpf00000000000000002"
        )
        if "{" in text
        else text
    )
