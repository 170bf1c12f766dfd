import pytest

from serving.streams.address import StreamError, check_prefix, read_address


@pytest.mark.parametrize(("url", "kind", "servers", "encrypted"), [
    ("nats://127.0.0.1:4222", "nats", ("127.0.0.1:4222",), False),
    ("tls://nats.bank:4222", "nats", ("nats.bank:4222",), True),
    ("amqp://127.0.0.1", "rabbit", ("127.0.0.1",), False),
    ("amqps://mq.bank/bank", "rabbit", ("mq.bank",), True),
    ("kafka://a:9092,b:9092", "kafka", ("a:9092", "b:9092"), False),
    ("kafka+ssl://[::1]:9093", "kafka", ("[::1]:9093",), True),
])  # fmt: skip
def test_a_url_names_its_broker(url: str, kind: str, servers: tuple[str, ...], encrypted: bool) -> None:
    found = read_address(url)
    assert (found.kind, found.servers, found.encrypted) == (kind, servers, encrypted)


def test_credentials_are_read_and_never_shown() -> None:
    found = read_address("kafka://teller:s%40cret@mq:9092")
    assert (found.user, found.password) == ("teller", "s@cret")
    assert "s%40cret" not in repr(found) and "s@cret" not in repr(found)
    assert found.shown == "kafka://mq:9092"


@pytest.mark.parametrize(("url", "line"), [
    ("http://127.0.0.1", "names no broker known here"),
    ("user:hunter2@host", "names no broker known here"),
    ("nats://", "names no host; write nats://127.0.0.1:PORT"),
    ("amqp://user:hunter2@", "names no host"),
    ("nats://[::1", "names no broker"),
])  # fmt: skip
def test_another_url_is_refused_in_one_line_without_its_secret(url: str, line: str) -> None:
    with pytest.raises(StreamError, match=line) as refused:
        read_address(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("prefix", ["", "NBO", "a.b", "n>", "x" * 40, "1a"])
def test_a_prefix_is_a_name(prefix: str) -> None:
    with pytest.raises(StreamError, match="is no name"):
        check_prefix(prefix)
