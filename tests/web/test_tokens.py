"""The two JWT kinds: what they must carry, what is refused and why, by whose clock, with which keys."""

import base64
import json
import math
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.clock import Clock
from webapp.domain.waiting_room import Stay
from webapp.web.failures import Rejected
from webapp.web.tokens import ALGORITHM, LENGTH_MAX, WAITING_LIFETIME_SECONDS, Claims, Kind, Tokens

SECRET = "the current key, long enough for every algorithm that a forger might think of"
PREVIOUS = "the previous key, which is as long as the other one, for the very same reason"
NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)  # not this machine's time


class Noon(Clock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        super().__init__(lambda: NOON)
        self.at = NOON

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Noon:
    return Noon()


@pytest.fixture
def tokens(clock: Noon) -> Tokens:
    return Tokens(clock, SECRET, None)


STAY = Stay(
    entry_id=uuid.UUID(int=1),
    performance_id=7,
    account_id=uuid.UUID(int=2),
    number=42,
    joined_at=NOON,
    admitted_at=NOON,
    access_expires_at=NOON + timedelta(seconds=600),
    holds_end_at=None,
    ended_at=None,
    end_reason=None,
    seen_at=None,
)


def issue(tokens: Tokens, kind: Kind) -> str:
    return tokens.issue_waiting(STAY, 5)[0] if kind == "waiting" else tokens.issue_access(STAY)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header: dict[str, Any] = jwt.get_unverified_header(token)
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return header, payload


def forge(
    token: str,
    change: Callable[[dict[str, Any], dict[str, Any]], None],
    *,
    key: str = SECRET,
    algorithm: str = ALGORITHM,
) -> str:
    """Sign a token anew after a change to its header and payload."""
    header, payload = parts(token)
    change(header, payload)
    header.pop("alg", None)
    return jwt.encode(payload, key, algorithm, headers=header)


def refusal(tokens: Tokens, kind: Kind, text: str | None, **how: bool) -> str:
    with pytest.raises(Rejected) as rejected:
        tokens.read(kind, text, **how)
    assert rejected.value.status == 401
    assert rejected.value.facts == {"token": kind}
    return rejected.value.code


KINDS: list[Kind] = ["waiting", "access"]
both_kinds = pytest.mark.parametrize("kind", KINDS)


# -- what is in them ------------------------------------------------------------------------------------


@both_kinds
@pytest.mark.failure("F16")
def test_both_kinds_carry_everything(tokens: Tokens, kind: Kind) -> None:
    header, payload = parts(issue(tokens, kind))
    assert header["alg"] == "HS256"
    assert header["typ"] == f"{kind}+jwt"
    assert header["kid"]
    assert payload.keys() >= {"iss", "aud", "sub", "jti", "iat", "exp"}
    assert (payload["iss"], payload["aud"]) == ("jari", f"jari-{kind}")
    assert payload["sub"] == str(STAY.account_id)
    assert payload["iat"] == NOON.timestamp()


@pytest.mark.parametrize("where", ["where they were issued", "elsewhere"])
def test_they_say_where_somebody_stands(tokens: Tokens, clock: Noon, where: str) -> None:
    reader = Tokens(clock, SECRET, None) if where == "elsewhere" else tokens
    text, expires = tokens.issue_waiting(STAY, 5, "a mark")
    claims = reader.read("waiting", text)
    issued_at = NOON.timestamp()
    assert claims == Claims(STAY.entry_id, 7, STAY.account_id, 42, 5, issued_at, expires, "a mark")
    assert expires == issued_at + WAITING_LIFETIME_SECONDS
    access = reader.read("access", tokens.issue_access(STAY))
    assert (access.number, access.ahead) == (None, None)
    assert access.expires_at == (NOON + timedelta(seconds=600)).timestamp()
    assert access.admitted.entry_id == STAY.entry_id
    assert (access.admitted.performance_id, access.admitted.account_id) == (7, STAY.account_id)


@both_kinds
def test_where_one_was_issued_nothing_is_verified(
    tokens: Tokens, clock: Noon, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = issue(tokens, kind)
    verified = Tokens(clock, SECRET, None).read(kind, text)
    monkeypatch.setattr(jwt, "decode_complete", None)
    assert tokens.read(kind, text) == verified
    clock.at += timedelta(hours=3)
    assert refusal(tokens, kind, text) == "token_expired"


def test_no_two_are_the_same(tokens: Tokens) -> None:
    assert len({issue(tokens, kind) for kind in KINDS for _ in range(10)}) == 20


def test_a_renewed_one_remembers_the_lowest_position(tokens: Tokens, clock: Noon) -> None:
    claims = tokens.read("waiting", tokens.issue_waiting(STAY, 5)[0])
    clock.at += timedelta(seconds=3_000)
    text, expires = tokens.renew_waiting(claims, 3)
    renewed = tokens.read("waiting", text)
    assert renewed == replace(claims, ahead=3, issued_at=clock.at.timestamp(), expires_at=expires)
    assert expires == clock.at.timestamp() + WAITING_LIFETIME_SECONDS


def test_nobody_who_waits_gets_an_access_token(tokens: Tokens) -> None:
    with pytest.raises(ValueError, match="not admitted"):
        tokens.issue_access(replace(STAY, admitted_at=None, access_expires_at=None))


# -- what is refused --------------------------------------------------------------------------------------


@both_kinds
def test_one_kind_is_not_the_other(tokens: Tokens, kind: Kind) -> None:
    other: Kind = "access" if kind == "waiting" else "waiting"
    assert refusal(tokens, kind, issue(tokens, other)) == "token_invalid"


@both_kinds
def test_not_even_with_the_others_name_on_it(tokens: Tokens, kind: Kind) -> None:
    other: Kind = "access" if kind == "waiting" else "waiting"

    def relabel_header(header: dict[str, Any], _: dict[str, Any]) -> None:
        header["typ"] = f"{kind}+jwt"

    def relabel_audience(_: dict[str, Any], payload: dict[str, Any]) -> None:
        payload["aud"] = f"jari-{kind}"

    for relabel in (relabel_header, relabel_audience):
        assert refusal(tokens, kind, forge(issue(tokens, other), relabel)) == "token_invalid"


@both_kinds
@pytest.mark.failure("F16")
@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud", "iss", "jti", "ent", "prf"])
def test_no_claim_may_be_missing(tokens: Tokens, kind: Kind, claim: str) -> None:
    def drop(_: dict[str, Any], payload: dict[str, Any]) -> None:
        del payload[claim]

    assert refusal(tokens, kind, forge(issue(tokens, kind), drop)) == "token_invalid"
    assert refusal(tokens, kind, forge(issue(tokens, kind), drop), expired_too=True)


@both_kinds
@pytest.mark.parametrize("name", ["typ", "kid"])
def test_no_header_may_be_missing(tokens: Tokens, kind: Kind, name: str) -> None:
    header, payload = parts(issue(tokens, kind))
    del header[name]
    segments = [encoded(header), encoded(payload)]
    key = jwt.get_algorithm_by_name(ALGORITHM)
    signed = key.sign(".".join(segments).encode(), SECRET.encode())
    text = ".".join([*segments, base64.urlsafe_b64encode(signed).decode().rstrip("=")])
    assert refusal(tokens, kind, text) == "token_invalid"


@both_kinds
@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "somebody"),
        ("aud", ["jari-waiting", "jari-access"]),
        ("aud", "jari"),
        ("sub", 5),
        ("sub", "not an id"),
        ("ent", "not an id"),
        ("ent", None),
        ("prf", "seven"),
        ("exp", "soon"),
        ("exp", None),
        ("iat", "now"),
    ],
)
def test_a_claim_that_cannot_be_is_refused(
    tokens: Tokens, kind: Kind, claim: str, value: object
) -> None:
    def spoil(_: dict[str, Any], payload: dict[str, Any]) -> None:
        payload[claim] = value

    header, payload = parts(issue(tokens, kind))
    spoil(header, payload)
    segments = [encoded(header), encoded(payload)]
    signed = jwt.get_algorithm_by_name(ALGORITHM).sign(".".join(segments).encode(), SECRET.encode())
    text = ".".join([*segments, base64.urlsafe_b64encode(signed).decode().rstrip("=")])
    assert refusal(tokens, kind, text) == "token_invalid"


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@both_kinds
def test_a_signature_that_is_not_ours_is_refused(tokens: Tokens, kind: Kind) -> None:
    good = issue(tokens, kind)
    head, body, signature = good.split(".")
    stranger = forge(good, lambda *_: None, key="another key that is long enough, too")
    payload = parts(good)[1] | {"prf": 8}
    unsigned = f"{encoded({'alg': 'none', 'typ': f'{kind}+jwt', 'kid': parts(good)[0]['kid']})}"
    for text in (
        stranger,
        f"{head}.{encoded(payload)}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{unsigned}.{body}.",
        f"{unsigned}.{body}.{signature}",
        forge(good, lambda *_: None, algorithm="HS512"),
    ):
        assert refusal(tokens, kind, text) == "token_invalid", text


@both_kinds
@pytest.mark.failure("F12")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "token_missing"),
        ("", "token_missing"),
        ("undefined", "token_malformed"),
        ("null", "token_malformed"),
        ("a.b", "token_malformed"),
        ("a.b.c", "token_malformed"),
        ("..", "token_malformed"),
        ("....", "token_malformed"),
        ("\xff\xfe.\xff.\xff", "token_malformed"),
        ("토.큰.은", "token_malformed"),
        ("a.b." + "c" * 8_192, "token_malformed"),
        ("\x00.\x00.\x00", "token_malformed"),
        (f"{encoded({'alg': 'HS256'})}.e30.e30", "token_invalid"),  # neither kid nor typ
        ("WyJhIl0.e30.e30", "token_malformed"),  # a header that is a list
    ],
)
def test_what_is_no_token_is_refused(
    tokens: Tokens, kind: Kind, text: str | None, code: str
) -> None:
    assert refusal(tokens, kind, text) == code


@both_kinds
def test_one_of_ours_is_never_too_long_and_a_longer_one_is_not_looked_at(
    tokens: Tokens, kind: Kind
) -> None:
    good = issue(tokens, kind)
    assert len(good) < LENGTH_MAX / 2
    assert refusal(tokens, kind, good + "A" * LENGTH_MAX) == "token_malformed"


@given(text=st.text() | st.from_regex(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"))
@pytest.mark.failure("F12")
def test_nothing_that_anybody_could_send_breaks_the_reader(text: str) -> None:
    tokens = Tokens(Noon(), SECRET, None)
    for kind in KINDS:
        assert refusal(tokens, kind, text).startswith("token_m" if not text else "token_")


@given(
    cut=st.integers(0, 400), replacement=st.text("abcABC012._-", max_size=5), access=st.booleans()
)
def test_no_change_to_a_token_is_accepted(cut: int, replacement: str, access: bool) -> None:
    tokens = Tokens(Noon(), SECRET, None)
    kind: Kind = "access" if access else "waiting"
    good = issue(tokens, kind)
    changed = good[:cut] + replacement + good[cut + len(replacement) :]
    if same(changed, good):
        assert tokens.read(kind, changed)
    else:
        refusal(tokens, kind, changed)


def same(one: str, other: str) -> bool:
    """Whether two texts are the same token: the last letter of base64 has bits that say nothing."""
    if one.count(".") != 2 or one.rpartition(".")[0] != other.rpartition(".")[0]:
        return False
    try:
        signatures = [base64.urlsafe_b64decode(t.rpartition(".")[2] + "=") for t in (one, other)]
    except ValueError:
        return False
    return signatures[0] == signatures[1]


# -- time -------------------------------------------------------------------------------------------------


@both_kinds
@pytest.mark.failure("F46")
@pytest.mark.parametrize("years", [-20, 0])
def test_the_time_is_the_houses_not_this_machines(
    tokens: Tokens, clock: Noon, kind: Kind, years: int
) -> None:
    """In a house that lives in another decade, before or after this machine's."""
    clock.at = began = NOON + timedelta(days=365 * years)
    stay = replace(STAY, access_expires_at=began + timedelta(seconds=600))
    good = tokens.issue_waiting(stay, 5)[0] if kind == "waiting" else tokens.issue_access(stay)
    claims = tokens.read(kind, good)
    assert claims.issued_at == began.timestamp()
    lifetime = claims.expires_at - began.timestamp()
    clock.at = began + timedelta(seconds=lifetime - 0.001)
    assert tokens.read(kind, good) == claims
    clock.at = began + timedelta(seconds=lifetime)
    assert refusal(tokens, kind, good) == "token_expired"


def test_one_that_has_expired_is_still_read_where_a_hold_may_live(
    tokens: Tokens, clock: Noon
) -> None:
    good = tokens.issue_access(STAY)
    clock.at += timedelta(days=1)
    assert tokens.read("access", good, expired_too=True).entry_id == STAY.entry_id
    forged = forge(good, lambda *_: None, key="another key that is long enough, too")
    assert refusal(tokens, "access", forged, expired_too=True) == "token_invalid"


def test_an_access_token_ends_with_its_access_and_not_before(tokens: Tokens) -> None:
    stay = replace(STAY, access_expires_at=NOON + timedelta(seconds=10.25))
    claims = tokens.read("access", tokens.issue_access(stay))
    assert claims.expires_at == math.ceil(NOON.timestamp() + 10.25)


# -- keys -------------------------------------------------------------------------------------------------


@both_kinds
def test_keys_rotate_with_overlap(clock: Noon, kind: Kind) -> None:
    old, new = Tokens(clock, PREVIOUS, None), Tokens(clock, SECRET, PREVIOUS)
    assert new.read(kind, issue(old, kind)).entry_id == STAY.entry_id
    assert new.read(kind, issue(new, kind)).entry_id == STAY.entry_id
    assert refusal(old, kind, issue(new, kind)) == "token_invalid"
    over = Tokens(clock, SECRET, None)
    assert refusal(over, kind, issue(old, kind)) == "token_invalid"
    assert over.read(kind, issue(new, kind)).entry_id == STAY.entry_id


def test_the_key_is_named_without_being_told(tokens: Tokens) -> None:
    kid = parts(issue(tokens, "access"))[0]["kid"]
    assert kid not in SECRET
    assert SECRET not in kid
    assert kid != parts(issue(Tokens(Noon(), PREVIOUS, None), "access"))[0]["kid"]


def test_the_name_of_another_key_does_not_help(clock: Noon) -> None:
    """A token signed with the previous key, said to be signed with the current one."""
    both = Tokens(clock, SECRET, PREVIOUS)
    kid = parts(issue(both, "access"))[0]["kid"]
    old = issue(Tokens(clock, PREVIOUS, None), "access")

    def rename(header: dict[str, Any], _: dict[str, Any]) -> None:
        header["kid"] = kid

    assert refusal(both, "access", forge(old, rename, key=PREVIOUS)) == "token_invalid"
