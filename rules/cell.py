"""What a rule may ask of a cell: the offer's and the channel's facts, constants of the catalogue."""

from rules.catalogue import Catalogue
from rules.tree import Kind, Scalar

CELL_FIELDS: dict[str, Kind] = {
    "offer.id": "text", "offer.family": "text", "offer.currency": "text", "offer.product": "text",
    "offer.entry_minor": "number", "offer.risk_grade": "number", "offer.credit": "bool",
    "offer.personalised": "bool", "channel.id": "text", "channel.disturbs": "bool"}  # fmt: skip


def cell_facts(catalogue: Catalogue) -> list[dict[str, Scalar]]:
    """One mapping per cell, in cell order: every cell field and placeholder -> its value."""
    facts: list[dict[str, Scalar]] = []
    for offer in catalogue.offers:
        for channel in catalogue.channels:
            facts.append({
                "offer.id": offer.id, "offer.family": offer.family, "offer.currency": offer.currency,
                "offer.product": offer.product, "offer.entry_minor": offer.entry_minor,
                "offer.risk_grade": offer.risk_grade, "offer.credit": offer.credit,
                "offer.personalised": offer.personalised, "channel.id": channel.id,
                "channel.disturbs": channel.disturbs, "this_offer": offer.id,
                "this_family": offer.family, "this_currency": offer.currency,
                "this_product": offer.product, "this_channel": channel.id})  # fmt: skip
    return facts
