"""The words of the report, in the languages of the house. Reasons as in `docs/reasons.md` (a test compares)."""

from collections.abc import Mapping

from rules.line import Line
from rules.reasons import Layer, ReasonCode

Pair = tuple[str, str]  # English, Chinese

REASONS: dict[ReasonCode, Pair] = {
    ReasonCode.PAUSED: ("paused by a switch", "开关已暂停"),
    ReasonCode.DECEASED: ("the customer has died", "客户已去世"),
    ReasonCode.FRAUD_LOCK: ("locked on suspicion of fraud", "涉嫌欺诈锁定"),
    ReasonCode.DO_NOT_CONTACT: ("on the do-not-contact register", "免打扰名单"),
    ReasonCode.MINOR: ("under age", "未成年"),
    ReasonCode.OPTED_OUT: ("said no to marketing on this channel", "已拒绝该渠道营销"),
    ReasonCode.NO_CONSENT: ("was never asked for consent", "从未同意"),
    ReasonCode.NO_PROFILING: ("objects to profiling", "反对画像"),
    ReasonCode.VULNERABLE: ("protected as vulnerable", "弱势客户保护"),
    ReasonCode.REGULATORY_UNKNOWN: ("a fact of this layer is not known", "合规事实未知"),
    ReasonCode.NOT_SERVED: ("the offer is not for this kind of customer", "产品不面向该类客户"),
    ReasonCode.STAFF: ("works for the bank", "本行员工"),
    ReasonCode.ALREADY_HOLDS: ("has it already", "已持有"),
    ReasonCode.IN_ARREARS: ("owes an instalment", "有逾期"),
    ReasonCode.CREDIT_TOO_LOW: ("credit grade too low", "信用等级不足"),
    ReasonCode.TENURE_TOO_SHORT: ("a customer for too short a time", "客户年限不足"),
    ReasonCode.ELIGIBILITY_UNKNOWN: ("a fact of this layer is not known", "资格事实未知"),
    ReasonCode.RISK_TOO_HIGH: ("riskier than the customer tolerates", "风险超出承受能力"),
    ReasonCode.RISK_ASSESSMENT_EXPIRED: ("assessment out of date", "风险测评过期"),
    ReasonCode.FUNDS_BELOW_ENTRY: ("less than the entry amount in the offer's currency", "余额低于起购金额"),
    ReasonCode.AGE_UNSUITABLE: ("not for this age", "年龄不适合"),
    ReasonCode.SUITABILITY_UNKNOWN: ("a fact of this layer is not known", "适当性事实未知"),
    ReasonCode.COMPLAINT_OPEN: ("a complaint is open", "投诉未结"),
    ReasonCode.HARDSHIP: ("in hardship", "困难救助中"),
    ReasonCode.RECENT_OUTFLOW: ("the money of this currency has just left", "该币种资金刚流出"),
    ReasonCode.RECENTLY_COMPLAINED: ("complained lately", "近期投诉"),
    ReasonCode.RECENTLY_REFUSED: ("refused lately", "近期拒绝"),
    ReasonCode.ASKED_LATER: ("said later", "要求稍后"),
    ReasonCode.IGNORED_REPEATEDLY: ("ignored it repeatedly", "多次未理会"),
    ReasonCode.NOT_YET_DUE: ("the moment has not come", "时机未到"),
    ReasonCode.SUPPRESSION_UNKNOWN: ("a fact of this layer is not known", "抑制事实未知"),
    ReasonCode.UNREACHABLE: ("the channel does not reach him", "渠道不可达"),
    ReasonCode.CAP_CHANNEL: ("enough contacts on this channel", "该渠道已达上限"),
    ReasonCode.CAP_TOTAL: ("enough contacts in total", "总接触已达上限"),
    ReasonCode.CAP_FAMILY: ("enough contacts about this family", "同类产品已达上限"),
    ReasonCode.CAP_HOUSEHOLD: ("enough contacts in the household", "本户已达上限"),
    ReasonCode.CAP_CAMPAIGN: ("enough contacts of this campaign", "该活动已达上限"),
    ReasonCode.COOL_OFF: ("a pause after a contact", "接触后静默期"),
    ReasonCode.WRONG_ORDER: ("another contact has to come first, or must not", "接触顺序不符"),
    ReasonCode.QUIET_HOURS: ("quiet hours at the customer's place", "当地静默时段"),
    ReasonCode.HOLIDAY: ("a holiday", "公共假日"),
    ReasonCode.CONTACT_UNKNOWN: ("a fact of this layer is not known (an unknown zone is always quiet)", "接触事实未知"),
    ReasonCode.NOT_IN_CAMPAIGN: ("no campaign in force has this cell", "无活动包含"),
    ReasonCode.NOT_IN_AUDIENCE: ("in no campaign's audience", "不在目标客群"),
    ReasonCode.CHANNEL_NOT_ASKED: ("the caller asked for other channels", "未请求该渠道"),
    ReasonCode.OFFER_NOT_ON_CHANNEL: ("the offer is not made on this channel", "产品不在该渠道"),
    ReasonCode.HOLDOUT: ("in the universal no-contact group of the season", "全局对照组"),
    ReasonCode.CAMPAIGN_UNKNOWN: ("a fact of this layer is not known", "活动事实未知"),
    ReasonCode.NOT_SCORED: ("no model could say what it is worth", "无模型评分"),
    ReasonCode.NO_CAPACITY: ("worth a contact, but the seats went to worthier ones", "名额不足"),
    ReasonCode.NO_VALUE: ("silence is worth more", "沉默更有价值"),
}
LAYERS: dict[Layer, Pair] = {
    Layer.REGULATORY: ("may be contacted by law", "法规允许联系"),
    Layer.ELIGIBILITY: ("eligible", "符合资格"),
    Layer.SUITABILITY: ("suitable", "适当性合格"),
    Layer.SUPPRESSION: ("not suppressed", "未被抑制"),
    Layer.CONTACT: ("under the caps, reachable", "可触达且未达频控上限"),
    Layer.CAMPAIGN: ("in a campaign, not held out", "属于活动且非对照组"),
    Layer.VALUE: ("worth a contact: chosen", "值得联系：入选"),
}
LAYER_NAMES: dict[Layer, Pair] = {
    Layer.REGULATORY: ("regulatory", "法规"), Layer.ELIGIBILITY: ("eligibility", "资格"),
    Layer.SUITABILITY: ("suitability", "适当性"), Layer.SUPPRESSION: ("suppression", "抑制"),
    Layer.CONTACT: ("contact", "接触"), Layer.CAMPAIGN: ("campaign", "活动"), Layer.VALUE: ("value", "价值"),
}  # fmt: skip
DIMENSIONS: dict[str, Pair] = {
    "tier": ("by value tier", "按价值等级"), "branch": ("by branch", "按网点"), "age": ("by age band", "按年龄段"),
    "region": ("by region (time zone)", "按地区（时区）"), "language": ("by language", "按语言"),
}  # fmt: skip
GROUPS: dict[str, dict[str, Pair]] = {  # in the order they are shown
    "tier": {"top": ("top", "顶级"), "high": ("high", "高"), "middle": ("middle", "中"), "base": ("base", "基础")},
    "age": {"under 18": ("under 18", "18 岁以下"), "18-29": ("18-29", "18-29"), "30-44": ("30-44", "30-44"),
            "45-59": ("45-59", "45-59"), "60-74": ("60-74", "60-74"), "75 and over": ("75 and over", "75 岁及以上"),
            "firm": ("firms", "企业")},
    "language": {"en": ("English", "英语"), "zh": ("Chinese", "中文")},
}  # fmt: skip
UNKNOWN: Pair = ("not known", "未知")
_LIMITS: dict[str, Pair] = {
    "seats": ("seats", "名额"), "seats of the day": ("seats of the day", "当日名额"),
    "seats of the sending hours": ("seats of the sending hours", "发送时段名额"),
    "seats of branch": ("seats of branch", "名额，网点"), "seats of manager": ("seats of manager", "名额，客户经理"),
    "inventory": ("inventory", "库存"), "minimum": ("minimum", "最低量"), "budget": ("budget", "预算"),
}  # fmt: skip


def limit_words(name: str, titles: Mapping[str, Line] = {}) -> Pair:
    """A limit's name as people read it: whose it is, where a run has several campaigns, what it is of, and its kind.

    titles: of channels, offers and campaigns, which Chinese readers get instead of ids.
    """
    first, _, rest = name.partition(" ")
    if first.endswith(":"):
        en, zh = limit_words(rest, titles)
        return f"{first} {en}", f"{_title(first[:-1], titles)}：{zh}"
    for whole, (en, zh) in _LIMITS.items():
        if rest == whole or (rest.startswith(f"{whole} ") and whole in ("seats of branch", "seats of manager")):
            whose = rest[len(whole) :]
            return f"{first} {en}{whose}", f"{_title(first, titles)} {zh}{whose}"
    return name, name


def _title(name: str, titles: Mapping[str, Line]) -> str:
    """The Chinese title; of campaigns that share a budget (`a+b`) each one's."""
    return " + ".join(titles[one].zh if one in titles else one for one in name.split("+"))
