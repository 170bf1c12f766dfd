"""`nbo decide`: the engine that lists and the service ask, for a few customers, without HTTP."""

from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError

from features.commands import parse_instant
from features.home import Home
from features.terminal import AsJson, tell
from rules.money import money
from serving.bids import bid_prices, shut_for_all
from serving.decisions import decide_one
from serving.http.messages import DecisionRequest, DecisionResponse, Direction
from serving.ledger.book import micros
from serving.office import open_engine, reading_ledger


class DecideError(ValueError):
    """A decision cannot be made so; one line."""


class DecideAnswer(BaseModel):
    """`nbo decide --json`: one decision per customer asked for; nothing was written."""

    decisions: list[DecisionResponse]


def decide(context: typer.Context, customers: list[str], at: Annotated[str | None, typer.Option("--at", help="Instant with zone, or a day.")] = None,
           channel: Annotated[str | None, typer.Option("--channel", help="Only this channel.")] = None,
           direction: Annotated[Direction, typer.Option(help="Who began.")] = Direction.OUTBOUND, as_json: AsJson = False) -> None:  # fmt: skip
    """Say what each customer would be offered now, and why; writes nothing."""
    home = Home.open(context.obj)
    moment = parse_instant(at, home) if at else home.now()
    answer = DecideAnswer(decisions=decide_customers(home, customers, moment, channel, direction))
    text = "\n".join(decision_line(decision, home.settings.currency) for decision in answer.decisions)
    tell(answer, as_json, text)


def decide_customers(home: Home, customers: list[str], at: datetime, channel: str | None = None,
                     direction: Direction = Direction.OUTBOUND) -> list[DecisionResponse]:  # fmt: skip
    """The decisions the service would give, each as if alone; reads only."""
    engine = open_engine(home)
    channels = None if channel is None else (channel,)
    if channel is not None and channel not in engine.catalogue.channel_index:
        raise DecideError(f"unknown channel `{channel}`; there are: {', '.join(engine.catalogue.channel_index)}")
    try:
        requests = [DecisionRequest(customer_id=name, channels=channels, direction=direction) for name in customers]
    except ValidationError:
        raise DecideError("a customer id has 1 to 64 printable characters without outer spaces; mend it") from None
    with reading_ledger(home, engine) as ledger, ledger.read() as connection:
        prices = bid_prices(connection, engine.catalogue, micros(at), shut_for_all(engine, connection, at))
        return [
            decide_one(engine, connection, request, f"dry-{place}", at, prices).answer
            for place, request in enumerate(requests)
        ]


def decision_line(decision: DecisionResponse, currency: str) -> str:
    """One line for people: the offer and its worth, or the reasons of silence."""
    if not decision.choices:
        return f"{decision.customer_id}: silent ({', '.join(decision.reasons)})" + (
            " DEGRADED" if decision.degraded else ""
        )
    first = decision.choices[0]
    worth = money(first.expected_value_minor, currency)
    return f"{decision.customer_id}: {first.offer_id} by {first.channel} (value {worth})"
