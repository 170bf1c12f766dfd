"""What can be wrong with data to learn from, with a model, or with its promotion.

ValueError
└── TrainingError         one line: what, where, remedy
    ├── DatasetError      too little, or contradictory, to learn from
    ├── BundleError       a served model is damaged, incomplete or of another kind
    ├── ScoreError        the customers to score lack what the models need
    └── RegistryError     no such model version, or a gate said no (GateError)
        └── GateError     the line of the promotion gate that failed
"""


class TrainingError(ValueError):
    """One line in domain words: what is wrong, where, and the remedy."""


class DatasetError(TrainingError):
    """The tables hold too little, or contradictory, data to learn from."""


class BundleError(TrainingError):
    """A served model is damaged, incomplete or of another kind than asked for."""


class ScoreError(TrainingError):
    """The customers to score lack a column the models need, or shapes do not agree."""


class RegistryError(TrainingError):
    """The registry has no such model or version."""


class GateError(RegistryError):
    """A model was not promoted; the message is the line of the gate that failed."""
