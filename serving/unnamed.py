"""Contacts that no campaign in force stands behind any more: refused at the claim, and recalled by the same rule.

A campaign that left the set took its approval and its legal footers along; a version that offers the same there, in a
wording approved that day, carries on what the former one reserved. A contact made without a campaign needs none.
"""

from datetime import datetime

from rules.reasons import ReasonCode
from serving.engine import Engine
from serving.ledger.book import ContactRow, Ledger
from serving.ledger.recalling import Spoken, recall_spoken


def is_named(engine: Engine, contact: ContactRow | Spoken, at: datetime) -> bool:
    """Whether the campaign of the contact, as it is in force, still says what the contact says; true where it has none."""
    if contact.campaign_id is None:
        return True
    campaign = engine.campaigns.get(contact.campaign_id)
    return campaign is not None and campaign.still_says(
        contact.offer_id, contact.family, contact.channel, contact.treatment, engine.day(at)
    )


def recall_unnamed(engine: Engine, ledger: Ledger, at: datetime, run: str | None = None) -> int:
    """Recall what is on its way unnamed, claimed within a day, or all that a list holds open; how many. LedgerError as any write.

    engine: of the set in force. What is reserved elsewhere stays: its claim is refused while the set holds.
    """
    return recall_spoken(ledger, lambda said: is_named(engine, said, at), ReasonCode.NOT_IN_CAMPAIGN.slug, run)
