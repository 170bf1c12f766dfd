"""The example policies as a home's first files: catalogue, policy, campaigns."""

import re
from importlib import resources
from pathlib import Path

from features.home import Home

CAMPAIGN = """# One campaign is one file; every field is described in serving/campaign.py.
id: {id}
title: {{en: {en}, zh: {zh}}}
owner: marketing
{offered}
window: {{from: 1993-01-01, to: 2035-12-31}}
send: {{after: "10:00", before: "19:00"}}
seats: {{{seats}}}
schedule: {{cron: "0 8 * * 1-5", holidays: skip, missed: last}}  # nbo schedule run
"""
EXAMPLES = {
    "retail": {"all_year": ("everything, all year", "全年全部产品", "families: [deposit, wealth, card, loan, insurance, retention]",
                            "sms: 2000, email: 3000, app: 3000, call: 200, branch: 100"),
               "dollars": ("for those who hold dollars", "美元客户", "offers: [deposit_usd_6m, wealth_usd_income]", "call: 50")},
    "coupons": {"coupons": ("coupon mailing", "优惠券邮寄", "families: [coupon]", "mail: 300")},
    "cards": {"letters": ("cards and loans by letter", "银行卡与贷款邮寄", "families: [card, loan]", "mail: 500")},
}  # fmt: skip


def equip(home: Home, example: str) -> list[Path]:
    """Write the example's files where the home has none of the kind; those written."""
    policies = resources.files("rules.policies")
    written: list[Path] = []
    if not home.catalogue.exists():
        text = (policies / f"{example}.catalogue.yaml").read_text("utf-8")
        ours = f"\nbase_currency: {home.settings.currency}\n"  # its amounts are examples in any currency
        home.catalogue.write_text(re.sub(r"\nbase_currency: [A-Z]{3}\n", ours, text, count=1), "utf-8")
        written.append(home.catalogue)
    if not any(home.policies.glob("*.yaml")):
        for kind in ("yaml", "cases.yaml", "invariants.yaml"):
            source, policy = policies / f"{example}.{kind}", home.policies / f"{example}.{kind}"
            if source.is_file():
                policy.write_text(source.read_text("utf-8"), "utf-8")
                written.append(policy)
    if not any(home.campaigns.glob("*.yaml")):
        for name, (en, zh, offered, seats) in EXAMPLES[example].items():
            path = home.campaigns / f"{name}.yaml"
            path.write_text(CAMPAIGN.format(id=name, en=f'"{en}"', zh=zh, offered=offered, seats=seats), "utf-8")
            written.append(path)
    return written
