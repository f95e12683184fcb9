"""Every channel's sender: what is taken was sent, what can be sent later is told so, and no secret shows."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from sinks.notifiers.mail import MailSender
from sinks.notifiers.post import PostSender, seconds_in
from sinks.notifiers.sender import sender_of
from spendstream import clock
from spendstream.errors import TerminalError, TransientError
from spendstream.notifications import Channel, Message
from spendstream.secret import Secret
from tests.fixtures.alerting import CHANNELS, alert, resolved
from tests.fixtures.receivers import HttpReceiver, MailReceiver, http_receiver, mail_receiver

POSTED = ("slack", "webhook", "pagerduty")
ONE = Message(alerts=(alert(1),))
SECRETS = ("s3cr3t", "0123456789abcdef", "t0ken", "p4ss", "@example.com")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as running:
        yield running


@pytest.fixture
async def mail_server() -> AsyncIterator[MailReceiver]:
    async with mail_receiver() as running:
        yield running


def at(url: str, kind: str) -> Channel:
    return replace(CHANNELS[kind], url=Secret(url))


async def failure(sender: Any, message: Message = ONE) -> TransientError | TerminalError:
    with pytest.raises((TransientError, TerminalError)) as raised:
        await sender.send(message)
    assert not any(secret in str(raised.value) for secret in SECRETS)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return raised.value


@pytest.mark.parametrize("kind", POSTED)
class TestPosted:
    async def test_what_is_taken_is_what_was_sent(
        self, kind: str, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        receiver.answers += [(200, {}), (202, {})]
        sender = sender_of(at(receiver.url, kind), http)
        await sender.send(ONE)
        await sender.send(Message(alerts=(resolved(1),)))
        assert len(receiver.taken) == 2
        assert receiver.taken[0] != receiver.taken[1]
        assert all(each["content-type"] == "application/json" for each in receiver.headers)

    @pytest.mark.parametrize("status", [429, 500, 502, 503])
    async def test_whoever_says_when_to_come_back_is_heard(
        self, kind: str, status: int, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        receiver.answers.append((status, {"retry-after": "17"}))
        busy = await failure(PostSender(at(receiver.url, kind), http))
        assert isinstance(busy, TransientError)
        assert busy.retry_after == 17

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    async def test_a_server_that_is_ill_is_asked_again_soon(
        self, kind: str, status: int, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        receiver.answers.append((status, {}))
        ill = await failure(PostSender(at(receiver.url, kind), http))
        assert isinstance(ill, TransientError)
        assert ill.retry_after == 5

    @pytest.mark.parametrize("status", [302, 401, 403, 404, 410])
    async def test_what_people_have_to_put_right_is_waited_for(
        self, kind: str, status: int, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        receiver.answers.append((status, {"location": receiver.url}))
        revoked = await failure(PostSender(at(receiver.url, kind), http))
        assert isinstance(revoked, TransientError)
        assert revoked.retry_after == 60
        assert receiver.asked == 1

    @pytest.mark.parametrize("status", [400, 413, 422])
    async def test_a_message_that_is_refused_is_not_sent_again(
        self, kind: str, status: int, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        receiver.answers.append((status, {}))
        assert isinstance(await failure(PostSender(at(receiver.url, kind), http)), TerminalError)

    async def test_one_that_hangs_up_is_asked_again(
        self, kind: str, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        receiver.answers.append("reset")
        assert isinstance(await failure(PostSender(at(receiver.url, kind), http)), TransientError)

    async def test_one_that_says_nothing_is_asked_again(
        self, kind: str, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        receiver.answers.append("hang")
        silent = await failure(PostSender(at(receiver.url, kind), http, timeout_s=0.2))
        assert isinstance(silent, TransientError)

    async def test_one_that_is_not_there_is_asked_again(self, kind: str, http: aiohttp.ClientSession) -> None:
        away = at("http://127.0.0.1:1/services/s3cr3t", kind)
        assert isinstance(await failure(PostSender(away, http)), TransientError)

    async def test_one_that_tells_secrets_is_not_quoted_with_them(
        self, kind: str, receiver: HttpReceiver, http: aiohttp.ClientSession
    ) -> None:
        channel = at(receiver.url, kind)
        receiver.says = f"no {channel.url} with {channel.key}, nor /services/s3cr3t"
        receiver.answers.append((403, {}))
        assert "answers 403: no ***" in str(await failure(PostSender(channel, http)))


class TestMailed:
    async def test_what_is_taken_is_what_was_sent(self, mail_server: MailReceiver) -> None:
        await MailSender(at(mail_server.url, "email")).send(ONE)
        [letter], [recipients] = mail_server.taken, mail_server.recipients
        assert letter["Subject"] == "[warning] Search: 1% of the budget is spent"
        assert recipients == ["a@example.com", "b@example.com"]

    @pytest.mark.parametrize("answer", ["451 later, a@example.com", "hang up", "421 closing"])
    async def test_a_server_that_cannot_now_is_asked_again(
        self, answer: str, mail_server: MailReceiver
    ) -> None:
        mail_server.answers.append(answer)
        sender = MailSender(at(mail_server.url, "email"))
        assert isinstance(await failure(sender), TransientError)
        await sender.send(ONE)
        assert len(mail_server.taken) == 1

    async def test_a_message_that_is_refused_is_not_sent_again(self, mail_server: MailReceiver) -> None:
        mail_server.answers.append("554 no, spend@example.com")
        assert isinstance(await failure(MailSender(at(mail_server.url, "email"))), TerminalError)

    async def test_addresses_that_are_all_refused_are_for_people_to_put_right(
        self, mail_server: MailReceiver
    ) -> None:
        mail_server.refused = {it: f"550 no {it}" for it in ("a@example.com", "b@example.com")}
        refused = await failure(MailSender(at(mail_server.url, "email")))
        assert isinstance(refused, TransientError)
        assert refused.retry_after == 60

    async def test_one_address_that_is_refused_does_not_keep_it_from_the_others(
        self, mail_server: MailReceiver
    ) -> None:
        mail_server.refused = {"a@example.com": "550 no"}
        await MailSender(at(mail_server.url, "email")).send(ONE)
        assert mail_server.recipients == [["b@example.com"]]

    async def test_a_password_is_not_sent_in_the_clear(self, mail_server: MailReceiver) -> None:
        channel = at(mail_server.url.replace("//", "//us3r:p4ss@"), "email")
        assert isinstance(await failure(MailSender(channel)), TransientError)
        assert not mail_server.taken

    async def test_one_that_is_not_there_is_asked_again(self) -> None:
        assert isinstance(await failure(MailSender(at("smtp://127.0.0.1:1", "email"))), TransientError)


async def test_a_webhook_is_shown_its_token(receiver: HttpReceiver, http: aiohttp.ClientSession) -> None:
    await PostSender(at(receiver.url, "webhook"), http).send(ONE)
    await PostSender(at(receiver.url, "slack"), http).send(ONE)
    assert [each.get("authorization") for each in receiver.headers] == ["Bearer t0ken", None]


async def test_a_webhook_may_have_a_user_in_its_url(
    receiver: HttpReceiver, http: aiohttp.ClientSession
) -> None:
    channel = at(receiver.url.replace("//", "//us3r:p4ss@"), "webhook")
    await PostSender(replace(channel, key=Secret()), http).send(ONE)
    assert receiver.headers[0]["authorization"] == "Basic " + b64encode(b"us3r:p4ss").decode()


async def test_a_user_in_the_url_is_not_quoted_in_the_form_in_which_it_is_sent(
    receiver: HttpReceiver, http: aiohttp.ClientSession
) -> None:
    sent = b64encode(b"us3r:p4ss").decode()
    receiver.says = f"what is Basic {sent}?"
    receiver.answers.append((400, {}))
    channel = replace(at(receiver.url.replace("//", "//us3r:p4ss@"), "webhook"), key=Secret())
    assert str(await failure(PostSender(channel, http))).endswith("what is Basic ***?")


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("0", 0), ("120", 120), ("-1", 0), ("999999999", 3600), ("", None), ("soon", None), ("1.5", None)],
)
def test_a_retry_after_is_seconds(retry_after: str, seconds: float | None) -> None:
    assert seconds_in(retry_after) == seconds


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("9" * 400, 3600),
        ("-" + "9" * 400, 0),
        ("Mon, 1 Jan 2030 00:00:99999999999 GMT", None),
        ("Mon, 1 Jan 99999999999 00:00:00 GMT", None),
    ],
)
def test_a_retry_after_beyond_all_numbers_does_no_harm(retry_after: str, seconds: float | None) -> None:
    assert seconds_in(retry_after) == seconds


def test_a_retry_after_may_be_a_date() -> None:
    later = format_datetime(clock.now() + timedelta(seconds=300), usegmt=True)
    assert seconds_in(later) == pytest.approx(300, abs=60)
    assert seconds_in("Wed, 21 Oct 2015 07:28:00 GMT") == 0
