"""What a dry run is asked and answers: the list as it stands, and variants beside it."""

from pydantic import BaseModel

from serving.lists.figures import Report


class WhatIf(BaseModel):
    """One variant of a dry run. seats: channel -> seats instead of the campaign's; without: parts of the policy left out.

    budget_minor: null for the campaign's own. Variants change nothing but this answer.
    """

    seats: dict[str, int] = {}
    budget_minor: int | None = None
    without: list[str] = []


class DryRun(BaseModel):
    """Reports side by side: as it stands, and each variant."""

    variants: list[WhatIf]
    reports: list[Report]
