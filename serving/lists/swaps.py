"""Moves that fit only together: one frees what another waits for."""

import numpy as np

from serving.lists.draft import Draft, Moves

CHAINS = 20_000  # pairs of moves tried
GIVERS = 60  # choosers asked to give up what another wants


def chain(draft: Draft, moves: Moves) -> None:
    """Take pairs of moves, of which the second fits because of the first, that add value together.

    Tried where priced room is left over: one who may take it frees what another waits for.
    """
    by_limit: dict[int, list[tuple[int, int]]] = {}
    for chooser, cell in zip(moves.chooser[:CHAINS].tolist(), moves.cell[:CHAINS].tolist(), strict=True):
        for limit, _ in draft.uses(cell):
            by_limit.setdefault(limit, []).append((chooser, cell))
    spent = 0
    for limit in np.argsort(-draft.price * np.maximum(draft.left, 0), kind="stable").tolist():
        if not draft.price[limit] or draft.left[limit] <= 0:
            continue
        for chooser, cell in by_limit.get(limit, [])[:400]:
            if draft.left[limit] <= 0 or spent > CHAINS:
                break
            spent += _pair(draft, chooser, cell, by_limit)


def swap(draft: Draft, moves: Moves) -> int:
    """Take moves that add value though a limit is full, where another chooser gives it up for less; how many."""
    if min(draft.left, default=0) < 0:
        return 0
    own = draft.cell[moves.chooser]
    gains = np.where(moves.cell >= 0, draft.cells.gross[moves.cell], 0) - np.where(own >= 0, draft.cells.gross[own], 0)
    rows = list(zip(moves.chooser.tolist(), moves.cell.tolist(), own.tolist(), strict=True))
    givers: dict[int, list[tuple[int, int, int]]] = {}
    for place in np.argsort(-gains, kind="stable").tolist():
        chooser, cell, now = rows[place]
        for limit, units in draft.change(chooser, cell).items():
            if units < 0:
                givers.setdefault(limit, []).append((chooser, cell, now))
    better = np.flatnonzero(gains > 0)
    swapped = spent = 0
    for place in better[np.argsort(-gains[better], kind="stable")].tolist():
        if spent > CHAINS:
            break
        chooser, cell, now = rows[place]
        if draft.cell[chooser] == now:
            done, tried = _swap(draft, chooser, cell, givers)
            swapped, spent = swapped + done, spent + tried
    return swapped


def _swap(draft: Draft, chooser: int, cell: int, givers: dict[int, list[tuple[int, int, int]]]) -> tuple[int, int]:
    """(1 where the move was made, how many givers were tried)."""
    change, gain = draft.change(chooser, cell), draft.gain(chooser, cell)
    full = [limit for limit, units in change.items() if units > 0 and units > draft.left[limit]]
    if not full:
        draft.go(chooser, cell, change)
        return 1, 1
    tried = 0
    for other, instead, now in givers.get(full[0], [])[:GIVERS]:
        tried += 1
        if other == chooser or draft.cell[other] != now:
            continue
        if gain + draft.gain(other, instead) <= 0:
            break  # the next ones give it up for more
        freed = draft.change(other, instead)
        if not draft.fits(freed):
            continue
        draft.go(other, instead, freed)
        if draft.fits(change):
            draft.go(chooser, cell, change)
            return 1, tried
        draft.go(other, now, {limit: -units for limit, units in freed.items()})
    return 0, tried


def _pair(draft: Draft, chooser: int, cell: int, by_limit: dict[int, list[tuple[int, int]]]) -> int:
    """Try one first move with the likeliest second ones; how many were tried."""
    change = draft.change(chooser, cell)
    if not change or not draft.fits(change):
        return 1
    own, first = int(draft.cell[chooser]), draft.gain(chooser, cell)
    draft.go(chooser, cell, change)
    tried = 1
    for freed in [limit for limit, units in change.items() if units < 0]:
        for other, second in by_limit.get(freed, [])[:60]:
            tried += 1
            if other != chooser and draft.cell[other] != second and first + draft.gain(other, second) > 0:
                more = draft.change(other, second)
                if draft.fits(more):
                    draft.go(other, second, more)
                    return tried
    if first <= 0:
        draft.go(chooser, own, {limit: -units for limit, units in change.items()})
    return tried
