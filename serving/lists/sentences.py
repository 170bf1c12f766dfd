"""What data and models say of themselves in English, for a page in both languages.

A bank's own sentences (assumptions.yaml) stand as it wrote them.
"""

import re

from rules.line import Line

# A test compares them with the rooms that say them.
_SAID: tuple[tuple[str, str], ...] = (
    (r"no live model `(\S+)`; train and promote it", r"没有已上线的模型 `\1`；请训练并上线"),
    (r"no feature snapshot; nbo features build", "没有特征快照；请运行 nbo features build"),
    (r"the newest snapshot is of (\S+), older than (.+); nbo features build", r"最新特征快照为 \1，已超过 \2；请运行 nbo features build"),
    (r"no randomised holdout to learn from: what customers do unasked \(p_organic\) counts as 0",
     "没有随机对照组可供学习：客户的自发行为（p_organic）按 0 计"),
    (r"what customers do unasked \(p_organic\) is learned from those drawn never to be contacted",
     "客户的自发行为（p_organic）从随机抽取的不联系客户中学习"),
    (r"no channel outcomes: every contact counts as reached \(p_reach = 1\)", "没有渠道触达结果：每次接触都视为已触达（p_reach = 1）"),
    (r"no complaints or opt-outs on record: harm of a contact counts as 0", "没有投诉或退订记录：接触的损害按 0 计"),
    (r"no contacts on record: interest is how often the product is taken within 30 days; what a contact adds to that is unknown",
     "没有接触记录：兴趣按 30 天内办理该产品的频率计；接触带来的增量未知"),
    (r"served models are fitted once more on all ripe rows; the figures are of the model fitted on the earlier ones",
     "上线模型已用全部成熟数据重新拟合；所示指标属于用较早数据拟合的模型"),
    (r"less than a year of history: the interval of lifetime values is that of the churn alone",
     "历史不足一年：客户终身价值的区间仅反映流失"),
)  # fmt: skip


def said(text: str) -> Line:
    """The sentence in both languages; alike where it is none of ours."""
    for pattern, chinese in _SAID:
        if (found := re.fullmatch(pattern, text)) is not None:
            return Line(en=text, zh=found.expand(chinese))
    return Line.alike(text)
