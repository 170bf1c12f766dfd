"""What a policy holds in vain: rules that never fire, always close, or are shadowed; offers nobody can get.

dead: the condition is TRUE for no customer in any cell of its scope, known facts or not. always: it closes
every cell of its scope for everybody. shadowed: whatever it closes, other parts close as well; of parts that
shadow each other the last one is named, so that all named may go together and no cell opens. Reasons may then
change: a shadowed rule can still be the one that is told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rules.governing import governing
from rules.grid import Grid
from rules.language import Language
from rules.program import DIRECTIONS, Step
from rules.prove import SECONDS, UndecidedError
from rules.terms import Terms
from rules.tree import FALSE, TRUE, Node, fold

Cell = tuple[str, int]  # direction, cell


@dataclass
class Shadows:
    """Ids of parts, `offer x channel, direction` of cells, ids of campaigns; undecided: what was not found out."""

    dead: list[str] = field(default_factory=list)
    always: list[str] = field(default_factory=list)
    shadowed: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    idle_campaigns: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


def find_shadows(terms: Terms) -> Shadows:
    """Everything in vain in the rules of the day of terms; its campaigns are asked whether they reach anybody."""
    found, cells = Shadows(), {cell: residuals for cell, residuals in _residuals(terms).items() if residuals}
    program = terms.program
    nodes = [node for residuals in cells.values() for nodes in residuals.values() for node in nodes]
    nodes += [step.when for steps in program.steps.values() for step in steps] + [a.when for a in program.audiences]
    grid = Grid(terms.vocabulary, nodes, SECONDS)
    for part in dict.fromkeys(part.id for part in terms.policy.parts):
        mine = {cell: nodes for cell, residuals in cells.items() if (nodes := residuals.get(part))}
        if not mine:
            continue  # not in force, or without a cell: the lint says so
        with _Undecided(found, part):
            if not any(grid.some(true=[node]) for node in _distinct(mine)):
                found.dead.append(part)
            elif not any(grid.some(false=[node]) for node in _distinct(mine)):
                found.always.append(part)
    gone = {*found.dead}
    for part in reversed([part.id for part in terms.policy.parts]):
        if part not in gone and any(part in residuals for residuals in cells.values()):
            with _Undecided(found, part):
                if _covered(grid, part, gone, cells):
                    gone.add(part)
                    found.shadowed.insert(0, part)
    _nobody(terms, grid, found)
    return found


class _Undecided:
    """Notes what the prover could not decide, and goes on."""

    def __init__(self, found: Shadows, about: str) -> None:
        self.found, self.about = found, about

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, UndecidedError):
            self.found.undecided.append(self.about)
            return True
        return False


def _residuals(terms: Terms) -> dict[Cell, dict[str, tuple[Node, ...]]]:
    """Direction and cell -> part -> its conditions there, folded; those that are FALSE are left out."""
    language = Language(terms.vocabulary, terms.catalogue)
    found: dict[Cell, dict[str, tuple[Node, ...]]] = {
        (d, c): {} for d in DIRECTIONS for c in range(terms.catalogue.n_cells)
    }
    for rule in terms.policy.lowered(terms.catalogue, terms.day):
        node, bits = language.parse(rule.when), rule.scope.cells(terms.catalogue)
        for cell, facts in enumerate(language.cells):
            if bits >> cell & 1 and (residual := fold(node, facts)) != FALSE:
                for direction in DIRECTIONS:
                    if rule.scope.direction in ("any", direction):
                        held = found[direction, cell]
                        held[rule.id] = (*held.get(rule.id, ()), residual)
    return found


def _distinct(mine: dict[Cell, tuple[Node, ...]]) -> list[Node]:
    return list(dict.fromkeys(node for nodes in mine.values() for node in nodes))


Residuals = dict[str, tuple[Node, ...]]  # of one cell: part -> its conditions


def _covered(grid: Grid, part: str, gone: set[str], cells: dict[Cell, Residuals]) -> bool:
    """Whether in every cell the parts that stay close what this one closes."""
    seen: set[tuple[tuple[Node, ...], frozenset[Node]]] = set()
    for residuals in cells.values():
        mine = residuals.get(part)
        if not mine:
            continue
        stay = (nodes for other, nodes in residuals.items() if other != part and other not in gone)
        others = frozenset(node for nodes in stay for node in nodes)
        if (mine, others) in seen or TRUE in others:
            continue
        seen.add((mine, others))
        if grid.some(false=others, not_false=mine):
            return False
    return True


def _nobody(terms: Terms, grid: Grid, found: Shadows) -> None:
    """Cells of the catalogue that stay closed to everybody, and campaigns that reach nobody."""
    program, offers, channels = terms.program, terms.catalogue.offers, terms.catalogue.channels
    answers: dict[tuple[Node, ...], bool] = {}

    def reached(steps: Sequence[Step], *also: Node) -> bool:
        key = (*also, FALSE, *(step.when for step in steps))
        if key not in answers:
            answers[key] = grid.some(true=also, false=dict.fromkeys(step.when for step in steps))
        return answers[key]

    for direction, cell in _cells(terms):
        offer, channel = divmod(cell, len(channels))
        name = f"{offers[offer].id} x {channels[channel].id}, {direction}"
        covered = (
            direction == "inbound" or terms.audiences is None or any(a.cells >> cell & 1 for a in program.audiences)
        )
        with _Undecided(found, name):
            if (
                channels[channel].id in offers[offer].channels
                and covered
                and not reached(governing(program, direction, cell))
            ):
                found.closed.append(name)
    for campaign in dict.fromkeys(audience.campaign_id for audience in terms.audiences or ()):
        places = [(cell, part.when) for part in program.audiences if part.campaign_id == campaign
                  for cell in range(program.n_cells) if part.cells >> cell & 1]  # fmt: skip
        with _Undecided(found, campaign):
            if not any(reached(governing(program, "outbound", cell), when) for cell, when in places):
                found.idle_campaigns.append(campaign)


def _cells(terms: Terms) -> Iterator[Cell]:
    for direction in DIRECTIONS:
        for cell in range(terms.catalogue.n_cells):
            yield direction, cell
