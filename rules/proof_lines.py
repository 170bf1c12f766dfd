"""What proofs, diffs and impacts found, a line each, in both languages: for a terminal, a review, the compliance pack."""

from rules.impact import Impacts
from rules.line import Line
from rules.proof_answers import DiffAnswer, ImpactRow, ProveAnswer, impact_row

_VAIN = {
    "dead": ("never fires", "从不触发"),
    "always": ("closes everything in its scope", "关闭其范围内的一切"),
    "shadowed": ("is shadowed: others close what it closes", "被遮蔽：它所关闭的，其他规则也会关闭"),
    "closed": ("is closed to everybody", "对所有人关闭"),
    "idle_campaigns": ("is a campaign that reaches nobody", "是触达不到任何人的活动"),
    "undecided": ("could not be decided in time", "未能在时限内判定"),
}
_OUTCOMES = {"refuted": "不成立", "unknown": "未能证明"}


def unproved_lines(answer: ProveAnswer) -> list[Line]:
    """The invariants that are not proved, each with a customer who breaks it, or why it is not known."""
    return [Line(en=f"invariant `{proof.invariant}` is {proof.outcome}: {proof.title}; {proof.words}",
                 zh=f"不变式 `{proof.invariant}` {_OUTCOMES[proof.outcome]}：{proof.title.zh}；{proof.words.zh}")
            for proof in answer.proofs if proof.outcome != "proved"]  # fmt: skip


def vain_lines(answer: ProveAnswer) -> list[Line]:
    """What the policy holds in vain."""
    return [
        Line(en=f"{name}: {en}", zh=f"{name}：{zh}") for key, (en, zh) in _VAIN.items() for name in getattr(answer, key)
    ]


def allowed_lines(answer: DiffAnswer) -> list[Line]:
    """One line for each part that closed somebody before."""
    return [Line(en=f"newly allowed, closed by `{c.part}` before ({len(c.cells)} cells): {c.customer}",
                 zh=f"新允许，此前由 `{c.part}` 关闭（{len(c.cells)} 个组合）：{c.customer.zh}") for c in answer.allowed]  # fmt: skip


def suppressed_lines(answer: DiffAnswer) -> list[Line]:
    """One line for each part that closes somebody now."""
    return [Line(en=f"newly suppressed by `{c.part}` ({len(c.cells)} cells): {c.customer}",
                 zh=f"新增抑制，由 `{c.part}` 关闭（{len(c.cells)} 个组合）：{c.customer.zh}") for c in answer.suppressed]  # fmt: skip


def undecided_lines(answer: DiffAnswer) -> list[Line]:
    """What the prover gave up on: it counts as not proved."""
    return [Line(en=f"undecided, so not proved: {name}", zh=f"未判定，视为未证明：{name}") for name in answer.undecided]


def impact_lines(found: Impacts, *, scored: bool) -> list[Line]:
    """The impact part by part, and in all."""
    rows = [*(impact_row(name, part, scored=scored) for name, part in sorted(found.parts.items())),
            impact_row("total", found.total, scored=scored)]  # fmt: skip
    en = (
        f"{found.customers:,} customers counted: {found.opened:,} get a first offer, {found.silenced:,} lose their last"
    )
    zh = f"共统计 {found.customers:,} 位客户：{found.opened:,} 位首次得到产品，{found.silenced:,} 位不再有任何产品"
    return [*map(_impact_line, rows), Line(en=f"{en}; nothing was written", zh=f"{zh}；未写入任何内容")]


def _impact_line(row: ImpactRow) -> Line:
    moves = [(cells, customers, en, zh) for cells, customers, en, zh in (
        (row.cells_gained, row.customers_gained, "opens", "打开"), (row.cells_lost, row.customers_lost, "closes", "关闭")) if cells]  # fmt: skip
    en = ", ".join(f"{verb} {cells:,} cells of {customers:,} customers" for cells, customers, verb, _ in moves)
    zh = "，".join(f"{verb} {customers:,} 位客户的 {cells:,} 个组合" for cells, customers, _, verb in moves)
    gained, lost = row.value_gained_minor, row.value_lost_minor
    if moves and gained is not None:
        en += f"; expected value +{gained:,} -{lost:,} in minor units"
        zh += f"；期望价值 +{gained:,} -{lost:,}（最小货币单位）"
    name = "合计" if row.rule == "total" else row.rule
    return Line(en=f"{row.rule}: {en or 'no cell opens or closes'}", zh=f"{name}：{zh or '无组合打开或关闭'}")
