"""Arbitrate: the value of every open cell, and which one a customer gets - or silence, worth 0.

    p_accept = p_interest(offer) x p_reach(channel)
    EV = (p_accept - p_reach x p_organic) x margin - cost(channel) - p_harm(channel) x lifetime_value
         + p_churn x lifetime_value x save_rate            (retention offers alone)
    value = round(EV x context x lever - bid_price)        (integer minor units, half to even)

A customer who is not reached does what he would have done unasked: the contact changes only what
those do who are reached, hence p_reach beside p_organic. Only those who accept a retention offer
can be kept by it, hence p_accept in the last term.
Every step is one float64 operation in this order, so that one row and a million give equal bits.
Source: the field's P x C x V x L (propensity, context, value, lever), kept apart in `factors`.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from rules.draws import share_of
from rules.errors import SchemaError
from rules.masks import numbers
from rules.terms import Terms
from rules.types import scores_schema

CLOSED = np.iinfo(np.int64).min


@dataclass
class Values:
    """The value of each cell. minor: (n, n_cells) int64 after the bid price; gross: before it.

    known: (n, n_cells) bool, False where a score the value needs is null.
    """

    minor: np.ndarray
    gross: np.ndarray
    known: np.ndarray


@dataclass
class Choice:
    """cell: (n,) int64, -1 for silence. p_chosen: (n,) probability of this choice. explored: (n,) bool."""

    cell: np.ndarray
    p_chosen: np.ndarray
    explored: np.ndarray


def matrix(scores: pa.RecordBatch, name: str) -> np.ndarray:
    """(n, k) float64 of a fixed-size list column, NaN where null."""
    column = scores.column(name)
    flat = numbers(column.values.slice(column.offset * column.type.list_size, len(column) * column.type.list_size))
    table = flat.reshape(len(column), column.type.list_size)
    if column.null_count:
        table = np.where(np.asarray(column.is_null())[:, None], np.nan, table)
    return table


def cell_values(scores: pa.RecordBatch, terms: Terms) -> Values:
    """The value of every cell from SCORES, closed ones included; SchemaError if SCORES do not fit."""
    offers, channels = terms.catalogue.offers, terms.catalogue.channels
    if not scores.schema.equals(scores_schema(len(offers), len(channels))):
        raise SchemaError("the scores do not fit the catalogue: retrain or roll back the models")
    with np.errstate(invalid="ignore"):
        reach = matrix(scores, "p_reach")[:, None, :]
        accept = matrix(scores, "p_interest")[:, :, None] * reach
        unasked = matrix(scores, "p_organic")[:, :, None] * reach
        lifetime, churn = numbers(scores.column("lifetime_value_minor")), numbers(scores.column("p_churn"))
        margin = np.array([float(o.margin_minor) for o in offers])
        cost = np.array([float(c.cost_minor) for c in channels])
        value = (accept - unasked) * margin[:, None] - cost
        value = value - (matrix(scores, "p_harm") * lifetime[:, None])[:, None, :]
        for place, offer in enumerate(offers):
            if offer.save_rate is not None:
                value[:, place, :] = (
                    value[:, place, :] + accept[:, place, :] * (churn * lifetime * offer.save_rate)[:, None]
                )
        value = value * 1.0 * np.array([o.lever for o in offers])[:, None]
        flat = value.reshape(len(value), terms.catalogue.n_cells)
        known = ~np.isnan(flat)
        gross = np.where(known, np.rint(flat), 0.0).astype(np.int64)
        prices = np.array(terms.prices or (0,) * terms.catalogue.n_cells, dtype=np.float64)
        minor = np.where(known, np.rint(flat - prices), 0.0).astype(np.int64)
    return Values(minor, gross, known)


def choose(values: np.ndarray, allowed: np.ndarray, customers: pa.RecordBatch, terms: Terms) -> Choice:
    """The best allowed cell of positive value, ties to the lower cell; explorers get another of them.

    values, allowed: (n, n_cells). p_chosen of the best cell is (1 - share) + share / k and of every
    other cell drawn from share / k, k the number of cells worth drawing; silence has 1.
    """
    n = len(values)
    offered = np.where(allowed & (values > 0), values, CLOSED)
    cell = offered.argmax(axis=1) if n else np.zeros(0, np.int64)
    best = offered[np.arange(n), cell]
    cell = np.where(best > 0, cell, -1)
    p_chosen, explored = np.ones(n), np.zeros(n, dtype=bool)
    share = terms.exploration.share
    if share > 0 and n:
        days = customers.column("local_day").to_pylist()
        drawn = share_of(terms.secret, "explore", terms.revision,
                         [f"{unit}\x1f{name}\x1f{day}" for unit, name, day in
                          zip(customers.column("unit_id").to_pylist(), customers.column("customer_id").to_pylist(), days, strict=True)])  # fmt: skip
        pool = (offered != CLOSED) & (offered >= best[:, None] - terms.exploration.max_loss_minor)
        size = pool.sum(axis=1)
        able = (cell >= 0) & (size > 1) & np.array([day is not None for day in days])
        explored = able & (drawn < share)
        turn = np.minimum((drawn / share * size).astype(np.int64), size - 1)
        rank = np.cumsum(pool, axis=1) - 1
        pick = (pool & (rank == turn[:, None])).argmax(axis=1)
        chance = np.where(size > 0, share / np.maximum(size, 1), 0.0)
        greedy = cell.copy()
        cell = np.where(explored, pick, cell)
        p_chosen = np.where(able, np.where(cell == greedy, 1.0 - share + chance, chance), 1.0)
    return Choice(cell, p_chosen, explored)
