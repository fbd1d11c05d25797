"""IamTokenService: an OAuth token or a JWT for an IAM token, one for another account, and the end of one.

Create and Revoke ask for no credential but the one in the request; CreateForServiceAccount asks for its caller's where
credentials are asked for at all. A token keeps what its account may use at the time. Texts and codes of refusals are
our choice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from .. import wording
from ..api import CreateIamTokenResponse, RevokeIamTokenResponse, Timestamp
from ..call import Call, parsed
from ..clock import SECOND
from ..errors import Code, Status
from ..gates import Handler
from ..gates.auth import account_of, authenticated, ended, lists
from ..iam import Issued
from ..rules.accounts import IAM_TOKEN, Account, Credential, wrong_text

_SERVICE = "/yandex.cloud.iam.v1.IamTokenService/"
_USER = Credential(user=True)
LONGEST_ID = 50
"""Characters of a service account's id (docs)."""


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {
        _SERVICE + "Create": _create,
        _SERVICE + "CreateForServiceAccount": _create_for_service_account,
        _SERVICE + "Revoke": _revoke,
    }


async def _create(call: Call) -> AsyncIterator[bytes]:
    request = parsed(call)
    if request.jwt:
        issued = _by_jwt(call, request.jwt)
    elif request.yandex_passport_oauth_token:
        issued = _by_oauth(call, request.yandex_passport_oauth_token)
    else:
        raise _invalid("yandex_passport_oauth_token or jwt")
    yield _told(call, issued)


async def _create_for_service_account(call: Call) -> AsyncIterator[bytes]:
    id_ = parsed(call).service_account_id
    if not id_:
        raise _invalid("service_account_id")
    session = call.session
    if not session.auth.open:
        authenticated(call)
    account = _account(call, id_, "service_account_id")
    if account is None:
        raise Status(Code.NOT_FOUND, wording.account_not_found(id_))
    yield _told(call, session.tokens.issue(session.seed, id_, account.folders))


async def _revoke(call: Call) -> AsyncIterator[bytes]:
    token = parsed(call).iam_token
    if not token:
        raise _invalid("iam_token")
    session = call.session
    listed = session.auth.iam_tokens.get(token)
    if listed is not None and not listed.account:
        listed = Credential(account_of(call, listed, token), listed.folders, listed.user)
    revoked = session.tokens.revoke(token, listed)
    call.entry.account = revoked.account
    yield RevokeIamTokenResponse(subject_id=revoked.account).SerializeToString()


def _by_oauth(call: Call, token: str) -> Issued:
    session = call.session
    known = session.auth.oauth_tokens.get(token)
    if known is None:
        if lists(call) or (not session.auth.open and IAM_TOKEN.match(token)):
            raise Status(Code.UNAUTHENTICATED, wording.OAUTH_INVALID)
        known = _USER
    elif ended(call, known, "OAuth token"):
        raise Status(Code.UNAUTHENTICATED, wording.OAUTH_INVALID)
    return session.tokens.issue(session.seed, account_of(call, known, token), known.folders, user=True)


def _by_jwt(call: Call, jwt: str) -> Issued:
    from .jwt import read  # its classes take a while to make, and few clients sign

    session = call.session
    assertion = read(jwt)
    account = _account(call, assertion.issuer, "iss")
    if account is None:
        raise Status(Code.UNAUTHENTICATED, wording.account_not_found(assertion.issuer))
    assertion.check(account)
    return session.tokens.issue(session.seed, assertion.issuer, account.folders)


def _account(call: Call, id_: str, field: str) -> Account | None:
    """The service account of that id; anyone is one where nothing is listed. Raises INVALID_ARGUMENT for what can be
    no id in `field`.
    """
    known = call.session.auth.accounts.get(id_)
    if known is not None or lists(call):
        return known
    if len(id_) > LONGEST_ID:
        raise Status(Code.INVALID_ARGUMENT, wording.validation(field, wording.at_most_long(LONGEST_ID)))
    if wrong := wrong_text(id_, "id"):
        raise Status(Code.INVALID_ARGUMENT, wording.validation(field, wrong))
    return Account()


def _told(call: Call, issued: Issued) -> bytes:
    call.entry.account = call.entry.account or issued.account
    at = issued.expires
    response: Any = CreateIamTokenResponse(
        iam_token=issued.token, expires_at=Timestamp(seconds=at // SECOND, nanos=at % SECOND)
    )
    raw: bytes = response.SerializeToString()
    return raw


def _invalid(field: str) -> Status:
    return Status(Code.INVALID_ARGUMENT, wording.validation(field, wording.REQUIRED))
