"""Who calls, and may they? Open unless the fixtures have an `auth` section or an option asks for credentials.

Codes and texts are the real service's as far as they were seen. A folder that the request names, in its model URI, as
`folder_id` or in `x-folder-id`, and that is not its service account's, is refused with 3, as was seen; a user account,
one that may use no folder at all, and an operation, dataset or batch task of another folder, with 7 (chosen).
`--lenient` is about requests, and leaves this gate shut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .. import wording
from ..call import Call
from ..errors import Code, Status
from ..rules.accounts import IAM_TOKEN, OAUTH_TOKEN, Credential
from ..rules.model_uri import Model

FOLDER = "x-folder-id"
_OPERATIONS = "/yandex.cloud.operation.OperationService/"
_UNLISTED = Credential()


def check(call: Call) -> None:
    """Raise the refusal that the real service would give to who calls, or note on the call who it is."""
    if call.session.auth.open:
        _recognize(call)
        return
    caller = authenticated(call)
    if caller.asks_folder and not call.header(FOLDER) and not call.method.startswith(_OPERATIONS):
        raise Status(Code.UNAUTHENTICATED, wording.FOLDER_NEEDED)
    if caller.folders is not None:
        _check_folders(call, caller, caller.folders)


def authenticated(call: Call) -> Credential:
    """What the call's credential stands for; the call then has its account. Raises UNAUTHENTICATED."""
    scheme, shown = call.credential
    known = _SCHEMES.get(scheme)
    if known is None or not shown:
        raise Status(Code.UNAUTHENTICATED, wording.SEEN_BY_CODE[Code.UNAUTHENTICATED])
    caller = known(call, shown)
    _note(call, caller, shown)
    return caller


def lists(call: Call) -> bool:
    """Whether only listed credentials are known to the call's session, and not any that is well-formed."""
    auth = call.session.auth
    return not auth.open and (auth.lists or bool(call.session.config.api_key))


def ended(call: Call, known: Credential, what: str) -> bool:
    """Whether that credential is not to be used any more, in which case the call's entry says why."""
    session = call.session
    why = known.ended(session.clock.now(), session.began)
    if why:
        call.entry.behaviour += (f"the {what} it shows is {why}",)
    return bool(why)


def _by_key(call: Call, shown: str) -> Credential:
    known = next((found for key in _keys(call, shown) if (found := _listed(call, key)) is not None), None)
    if known is None and not lists(call) and not IAM_TOKEN.match(shown) and not OAUTH_TOKEN.match(shown):
        return _UNLISTED
    if known is None or ended(call, known, "API key"):
        raise Status(Code.UNAUTHENTICATED, wording.unknown_api_key(shown))
    return known


def _keys(call: Call, shown: str) -> Iterator[str]:
    """What may be the key: all of it, or what follows the dot where what comes before names a session."""
    yield shown
    if call.session.config.session_from == "api-key" and "." in shown:
        yield shown.partition(".")[2]


def _listed(call: Call, key: str) -> Credential | None:
    known = call.session.auth.api_keys.get(key)
    return _UNLISTED if known is None and key in call.session.config.api_key else known


def _by_token(call: Call, shown: str) -> Credential:
    issued = call.session.tokens.get(shown)
    known = issued.credential if issued is not None else call.session.auth.iam_tokens.get(shown)
    if known is None and not lists(call) and IAM_TOKEN.match(shown):
        return _UNLISTED
    if known is None or ended(call, known, "IAM token"):
        raise Status(Code.UNAUTHENTICATED, wording.TOKEN_INVALID)
    return known


_SCHEMES = {"api-key": _by_key, "bearer": _by_token}


def _recognize(call: Call) -> None:
    """Where everybody may call, an IAM token that was issued here still tells who does."""
    if len(call.session.tokens):
        _, shown = call.credential
        issued = call.session.tokens.get(shown)
        if issued is not None:
            _note(call, issued.credential, shown)


def _note(call: Call, caller: Credential, shown: str) -> None:
    call.account = caller.account or account_of(call, caller, shown)
    call.entry.account = call.account


def account_of(call: Call, credential: Credential, shown: str) -> str:
    """The id of the account whose credential that is: as it was given, else one that is made up for it."""
    if credential.account:
        return credential.account
    return call.session.seed.identifier("aje", "user", shown) if credential.user else call.session.account


def _check_folders(call: Call, caller: Credential, folders: tuple[str, ...]) -> None:
    for folder in _named(call):
        if folder in folders:
            continue
        if caller.user or not folders:
            raise _denied(folder)
        raise Status(Code.INVALID_ARGUMENT, wording.other_folder(folder, folders[0]))
    for owner in _owners(call):
        if owner not in folders:
            raise _denied(owner)


def _named(call: Call) -> Iterator[str]:
    """The folders that a request names itself."""
    for folder in (
        Model.parse(getattr(call.message, "model_uri", "")).folder,
        getattr(call.message, "folder_id", ""),
        call.header(FOLDER),
    ):
        if folder:
            yield folder


def _owners(call: Call) -> Iterator[str]:
    """The folders of what a request asks about by id, as far as they are known."""
    for field, folder_of in OWNERS.items():
        named = getattr(call.message, field, "")
        for id_ in [named] if isinstance(named, str) else named:
            if id_ and (folder := folder_of(call, id_)):
                yield folder


def _of_operation(call: Call, operation_id: str) -> str:
    operations = call.session.operations
    return operations.get(operation_id).folder if operation_id in operations else ""


def _of_dataset(call: Call, dataset_id: str) -> str:
    datasets = call.session.datasets
    return datasets.get(dataset_id).folder if dataset_id in datasets else ""


def _of_task(call: Call, task_id: str) -> str:
    record = call.session.operations.of_task(task_id)
    return record.folder if record is not None else ""


OWNERS: Mapping[str, Callable[[Call, str], str]] = {
    "operation_id": _of_operation,
    "dataset_id": _of_dataset,
    "source_dataset_id": _of_dataset,
    "task_id": _of_task,
}
"""By field of a request: the folder of what has that id."""


def _denied(folder: str) -> Status:
    return Status(Code.PERMISSION_DENIED, wording.for_code(Code.PERMISSION_DENIED, folder=folder))
