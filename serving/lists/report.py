"""The report of a run: one self-contained page, nothing fetched from outside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, StrictUndefined

from rules.catalogue import Catalogue
from rules.reasons import Layer, ReasonCode
from serving.lists.funnel import Funnel

LAYERS = {
    Layer.REGULATORY: ("may be contacted by law", "法规允许联系"), Layer.ELIGIBILITY: ("eligible", "符合资格"),
    Layer.SUITABILITY: ("suitable", "适当性合格"), Layer.SUPPRESSION: ("not suppressed", "未被抑制"),
    Layer.CONTACT: ("under caps", "未达频控上限"), Layer.CAMPAIGN: ("in a campaign, no holdout", "属于活动且非对照组"),
    Layer.VALUE: ("worth contacting: chosen", "有价值：入选"),
}  # fmt: skip

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ run }}</title><style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;text-align:left;border-bottom:1px solid #8884}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.bar{width:40%}td.bar i{display:block;height:.9rem;background:#2f6f4f;border-radius:2px;min-width:1px}
.zh{color:#777}
</style></head><body>
<h1>Offer list <code>{{ run }}</code></h1>
<p>As of {{ as_of }}. {{ funnel.customers }} customers, {{ funnel.chosen }} contacts, {{ funnel.holdout }} held out.</p>
<h2>Funnel <span class="zh">漏斗</span></h2>
<table><tr><th>layer<th class="n">customers left<th></tr>
<tr><td>all customers <span class="zh">全部客户</span><td class="n">{{ funnel.customers }}<td class="bar"><i style="width:100%"></i></tr>
{% for en, zh, count, share in layers %}<tr><td>{{ en }} <span class="zh">{{ zh }}</span><td class="n">{{ count }}<td class="bar"><i style="width:{{ share }}%"></i></tr>
{% endfor %}</table>
<h2>Why silent <span class="zh">静默原因</span></h2>
<table><tr><th>reason<th>layer<th class="n">closed the last cell<th class="n">met anywhere</tr>
{% for reason, layer, last, met in reasons %}<tr><td>{{ reason }}<td>{{ layer }}<td class="n">{{ last }}<td class="n">{{ met }}</tr>
{% endfor %}</table>
<h2>Certificate <span class="zh">证明</span></h2>
<p>The list is worth {{ money(certificate.value_minor) }}; no list over all open cells that keeps the seats is worth more than
{{ money(certificate.bound_minor) }} (gap {{ "%.3f" | format(certificate.gap_share * 100) }} %).</p>
<table><tr><th>channel<th class="n">contacts<th class="n">seats<th class="n">price of a seat in the bound</tr>
{% for channel, used, seats, price in seats %}<tr><td>{{ channel }}<td class="n">{{ used }}<td class="n">{{ seats }}<td class="n">{{ price }}</tr>
{% endfor %}</table>
<h2>Assumptions <span class="zh">假设</span></h2>
<ul>{% for line in assumptions %}<li>{{ line }}</li>{% else %}<li>none</li>{% endfor %}</ul>
</body></html>
"""


def report_page(
    catalogue: Catalogue,
    run: str,
    as_of: datetime,
    funnel: Funnel,
    certificate: dict[str, Any],
    assumptions: Sequence[str],
) -> str:
    """The page as HTML; every text is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)

    def money(minor: int) -> str:
        return f"{minor / 100:,.2f} {catalogue.base_currency}"

    layers = [(*LAYERS[layer], count, round(100 * count / max(funnel.customers, 1), 1))
              for layer, count in zip(Layer, funnel.after.values(), strict=True)]  # fmt: skip
    reasons = [
        (slug, ReasonCode.of(slug).layer.value, funnel.decisive.get(slug, 0), met) for slug, met in funnel.met.items()
    ]
    channels = [channel.id for channel in catalogue.channels]
    seats = [(name, certificate["used"].get(name, 0), certificate["seats"].get(name, "no limit"),
              money(certificate["prices_minor"].get(name, 0))) for name in channels]  # fmt: skip
    return environment.from_string(PAGE).render(run=run, as_of=f"{as_of:%Y-%m-%d %H:%M} UTC", funnel=funnel, layers=layers, reasons=reasons,
                                                certificate=certificate, seats=seats, assumptions=assumptions, money=money)  # fmt: skip
