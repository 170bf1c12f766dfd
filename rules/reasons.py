"""Why a customer is not contacted: ReasonCode.

The order is the precedence: of two reasons that close a cell, the one listed first is named. The
numbers are wire values, stable for ever: records and lists of years ago still read. A new reason
gets the next free number of its layer and stands where its precedence is; a retired one keeps its
number. `docs/reasons.md` lists them in this order (a test compares).
"""

from difflib import get_close_matches
from enum import IntEnum, StrEnum, unique


class Layer(StrEnum):
    """The layers of a contact policy; a later one never overrides an earlier."""

    REGULATORY = "regulatory"
    ELIGIBILITY = "eligibility"
    SUITABILITY = "suitability"
    SUPPRESSION = "suppression"
    CONTACT = "contact"
    CAMPAIGN = "campaign"
    VALUE = "value"  # arbitration: nothing forbids it, but silence is worth more


@unique
class ReasonCode(IntEnum):
    """A reason to stay silent. Declared by descending precedence; the hundreds are the layer."""

    PAUSED = 101
    DECEASED = 102
    FRAUD_LOCK = 103
    DO_NOT_CONTACT = 104
    MINOR = 105
    OPTED_OUT = 106
    NO_CONSENT = 107
    NO_PROFILING = 108
    VULNERABLE = 109
    REGULATORY_UNKNOWN = 199

    NOT_SERVED = 201
    STAFF = 202
    ALREADY_HOLDS = 203
    IN_ARREARS = 204
    CREDIT_TOO_LOW = 205
    TENURE_TOO_SHORT = 206
    ELIGIBILITY_UNKNOWN = 299

    RISK_TOO_HIGH = 301
    RISK_ASSESSMENT_EXPIRED = 302
    FUNDS_BELOW_ENTRY = 303
    AGE_UNSUITABLE = 304
    SUITABILITY_UNKNOWN = 399

    COMPLAINT_OPEN = 401
    HARDSHIP = 402
    RECENT_OUTFLOW = 403
    RECENTLY_COMPLAINED = 404
    RECENTLY_REFUSED = 405
    ASKED_LATER = 406
    IGNORED_REPEATEDLY = 407
    NOT_YET_DUE = 408
    SUPPRESSION_UNKNOWN = 499

    UNREACHABLE = 501
    CAP_CHANNEL = 502
    CAP_TOTAL = 503
    CAP_FAMILY = 504
    CAP_HOUSEHOLD = 505
    CAP_CAMPAIGN = 506
    COOL_OFF = 507
    WRONG_ORDER = 508
    QUIET_HOURS = 509
    HOLIDAY = 510
    CONTACT_UNKNOWN = 599

    NOT_IN_CAMPAIGN = 601
    NOT_IN_AUDIENCE = 602
    CHANNEL_NOT_ASKED = 603
    OFFER_NOT_ON_CHANNEL = 604
    HOLDOUT = 605
    CAMPAIGN_UNKNOWN = 699

    NOT_SCORED = 701
    NO_CAPACITY = 702
    NO_VALUE = 703

    @property
    def slug(self) -> str:
        """The name in answers, files and pages: `opted_out`."""
        return self.name.lower()

    @property
    def layer(self) -> Layer:
        """The layer the reason belongs to."""
        return tuple(Layer)[self.value // 100 - 1]

    @classmethod
    def of(cls, slug: str) -> "ReasonCode":
        """The reason with this slug; ValueError with the nearest one if there is none."""
        try:
            return cls[slug.upper()]
        except KeyError:
            near = get_close_matches(slug.lower(), [code.slug for code in cls], 1)
            raise ValueError(f"unknown reason `{slug}`" + (f": did you mean `{near[0]}`?" if near else "")) from None


PRECEDENCE: tuple[ReasonCode, ...] = tuple(ReasonCode)
RANK: dict[ReasonCode, int] = {code: rank for rank, code in enumerate(PRECEDENCE)}
UNKNOWN: dict[Layer, ReasonCode] = {
    layer: ReasonCode[f"{layer.name}_UNKNOWN"] for layer in Layer if layer is not Layer.VALUE
}
