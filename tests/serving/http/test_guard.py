"""Keys are forgotten in time, and the crowd is counted right."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.http.errors import Busy, Forbidden, TooLate
from serving.http.guard import (
    RENEWED_AT_ONCE,
    Keyring,
    Turnstile,
    Unauthorised,
    channel_of,
    check_channel,
    deadline_after_seconds,
)
from serving.ledger.keys import Principal, Role

HEADERS = {b"authorization": b"Bearer k1"}


def test_p25_a_revoked_key_works_for_at_most_the_time_it_is_remembered():
    known, now = {"k1": Principal("app", Role.CHANNEL)}, [0.0]
    with ThreadPoolExecutor(1) as pool:
        ring = Keyring(known.get, pool, seconds_kept=1.0, clock=lambda: now[0])
        assert asyncio.run(ring.principal(HEADERS, 9)).name == "app"
        known.clear()
        now[0] = 0.999
        assert asyncio.run(ring.principal(HEADERS, 9)).name == "app"
        now[0] = 1.0
        with pytest.raises(Unauthorised, match="unknown, expired or revoked"):
            asyncio.run(ring.principal(HEADERS, 9))
        now[0] = 0.5
        with pytest.raises(Unauthorised):
            asyncio.run(ring.principal(HEADERS, 9))


def test_a_key_in_use_is_asked_again_beside_its_requests_and_none_of_them_waits():
    """Mutant: asked again only when it has run out, each second's first requests wait for it, all at once."""
    now, free, asked, door = [0.0], threading.Event(), list[str](), {"k1": Principal("app", Role.CHANNEL)}
    free.set()

    def who(presented: str) -> Principal | None:
        asked.append(presented)
        assert free.wait(20)
        return door[presented]  # a KeyError where the door cannot say

    with ThreadPoolExecutor(1) as pool:
        ring = Keyring(who, pool, seconds_kept=1.0, clock=lambda: now[0])

        def name_at(instant: float) -> str:
            now[0] = instant
            return asyncio.run(ring.principal(HEADERS, 3)).name

        def settled() -> None:
            free.set()
            pool.submit(lambda: None).result()
            free.clear()

        assert name_at(0.0) == name_at(0.49) == "app"
        assert asked == ["k1"]
        free.clear()
        assert [name_at(at) for at in (0.5, 0.6, 0.99)] == ["app"] * 3
        settled()
        assert asked == ["k1"] * 2, "one look-up for all of them"
        assert name_at(1.49) == "app", "known since 0.5, when it was asked again"
        door.clear()
        settled()
        assert name_at(1.499) == "app", "the door could not say; it is kept no longer for that"
        settled()
        free.set()
        with pytest.raises(KeyError):
            name_at(1.5)


def test_p25_a_key_that_is_asked_again_and_was_revoked_is_refused_before_its_time():
    known, now = {"k1": Principal("app", Role.CHANNEL)}, [0.0]
    with ThreadPoolExecutor(1) as pool:
        ring = Keyring(known.get, pool, seconds_kept=1.0, clock=lambda: now[0])
        assert asyncio.run(ring.principal(HEADERS, 9)).name == "app"
        known.clear()
        now[0] = 0.6
        assert asyncio.run(ring.principal(HEADERS, 9)).name == "app"
        pool.submit(lambda: None).result()
        with pytest.raises(Unauthorised):
            asyncio.run(ring.principal(HEADERS, 9))


def test_p25_what_was_asked_before_a_key_was_refused_does_not_bring_it_back():
    now, asked, free, app = [0.0], threading.Event(), threading.Event(), Principal("app", Role.CHANNEL)
    answers = iter((app, app, None, None))

    def who(_: str) -> Principal | None:
        answer = next(answers)
        if now[0] == 0.6:  # it has read the key, and is slow to say so
            asked.set()
            assert free.wait(20)
        return answer

    with ThreadPoolExecutor(2) as pool:
        ring = Keyring(who, pool, seconds_kept=1.0, clock=lambda: now[0])
        for instant in (0.0, 0.6):
            now[0] = instant
            assert asyncio.run(ring.principal(HEADERS, 9)).name == "app"
        assert asked.wait(20)
        now[0] = 1.05
        with pytest.raises(Unauthorised):
            asyncio.run(ring.principal(HEADERS, 9))
        free.set()
        pool.submit(time.sleep, 0.05).result()
        now[0] = 1.1
        with pytest.raises(Unauthorised):
            asyncio.run(ring.principal(HEADERS, 9))


def test_a_database_that_hangs_gathers_no_queue_of_keys_in_use():
    now, begun, free = [0.0], threading.Event(), threading.Event()
    free.set()
    headers = [{b"authorization": b"Bearer k%d" % n} for n in range(3 * RENEWED_AT_ONCE)]

    def who(name: str) -> Principal:
        begun.set()
        assert free.wait(20)
        return Principal(name, Role.ADMIN)

    with ThreadPoolExecutor(1) as pool:
        ring = Keyring(who, pool, clock=lambda: now[0])
        names = [asyncio.run(ring.principal(one, 9)).name for one in headers]
        free.clear()
        begun.clear()
        now[0] = 0.7
        again = [asyncio.run(ring.principal(one, 0)).name for one in headers]
        assert begun.wait(20)  # one hangs, the others wait behind it
        waiting = pool._work_queue.qsize()
        free.set()
    assert again == names
    assert waiting == RENEWED_AT_ONCE - 1


def test_the_keyring_stays_small():
    asked = []

    def who(presented: str) -> Principal:
        asked.append(presented)
        return Principal(presented, Role.ADMIN)

    with ThreadPoolExecutor(1) as pool:
        ring = Keyring(who, pool, kept_max=2, clock=lambda: 0.0)
        for key in (b"a", b"b", b"c", b"a"):
            headers = {b"authorization": b"Bearer " + key}
            assert asyncio.run(ring.principal(headers, 9)).name == key.decode()
    assert asked == ["a", "b", "c", "a"]


def test_the_keyring_keeps_no_key_as_such():
    with ThreadPoolExecutor(1) as pool:
        ring = Keyring(lambda _: Principal("app", Role.CHANNEL), pool)
        asyncio.run(ring.principal({b"authorization": b"bearer SECRET-4711"}, 9))
        assert "SECRET-4711" not in repr(vars(ring))


def test_a_look_up_that_takes_longer_than_the_caller_waits_is_too_late():
    free, door = threading.Event(), {"k1": Principal("app", Role.CHANNEL)}

    def who(presented: str) -> Principal | None:
        free.wait(20)
        return door.get(presented)

    with ThreadPoolExecutor(1) as pool:
        ring = Keyring(who, pool, lookups_max=1)
        for _ in range(2):  # its place is free again
            with pytest.raises(TooLate) as late:
                asyncio.run(ring.principal(HEADERS, 0.01))
            assert late.value.code == "deadline_passed"
        free.set()
        assert asyncio.run(ring.principal(HEADERS, 9)).name == "app"


def test_the_turnstile_lets_in_as_many_as_it_should_and_counts_leavers():
    turnstile = Turnstile(1)
    with turnstile.entered():
        with pytest.raises(Busy), turnstile.entered():
            pass
        assert turnstile.inside == 1
    with pytest.raises(KeyError), turnstile.entered():
        raise KeyError
    assert turnstile.inside == 0


@pytest.mark.parametrize(
    ("name", "role", "channel"),
    [
        ("sms", Role.CHANNEL, "sms"),
        ("SMS.2", Role.CHANNEL, "sms"),
        ("email_blast", Role.CHANNEL, "email"),
        ("boss", Role.ADMIN, None),
        ("sms", Role.MARKETING, None),
    ],
)
def test_p25_the_name_of_a_channel_key_binds_it(name, role, channel):
    assert channel_of(Principal(name, role)) == channel
    check_channel(Principal(name, role), channel or "anything")


@pytest.mark.parametrize("name", ["legacy", "smsgateway", "-sms", "网关"])
def test_p25_a_channel_key_bound_to_no_channel_moves_nothing(name):
    with pytest.raises(Forbidden) as refused:
        check_channel(Principal(name, Role.CHANNEL), "sms")
    assert refused.value.code == "key_without_channel"


def test_the_caller_may_shorten_the_deadline_and_not_lengthen_it():
    assert deadline_after_seconds({}, 4.0) == 4.0
    assert deadline_after_seconds({b"x-deadline-ms": b"1500"}, 4.0) == 1.5
    assert deadline_after_seconds({b"x-deadline-ms": b"9000"}, 4.0) == 4.0
