"""What can be wrong with what we are given.

ValueError
└── RulesError            one line: what, where, remedy
├── SchemaError       a table lacks a column, or a column has another type
├── CatalogueError    offers, channels or treatments contradict each other
└── PolicyError       a contact policy does not load; carries file, line and rule id
└── ConditionError    the condition of a rule does not parse or type-check
"""


class RulesError(ValueError):
    """One line in domain words: what is wrong, where, and the remedy."""


class SchemaError(RulesError):
    """A table lacks a column, or a column has another type than the contract says."""


class CatalogueError(RulesError):
    """Offers, families, channels or treatments contradict each other."""


class PolicyError(RulesError):
    """A contact policy does not load. `file`, `line` (1-based) and `rule` say where."""

    def __init__(self, what: str, *, file: str = "", line: int = 0, rule: str = "") -> None:
        self.what, self.file, self.line, self.rule = what, file, line, rule
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(place + (f"rule `{rule}`: " if rule else "") + what)


class ConditionError(PolicyError):
    """The condition of a rule does not parse or type-check."""
