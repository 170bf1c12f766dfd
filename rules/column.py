"""A declared column: the common tongue of features, ledger and rules is a pa.Schema of these."""

import pyarrow as pa


def declare(
    name: str, type_: pa.DataType, *, unit: str, null: str, source: str, en: str, zh: str, domain: str = ""
) -> pa.Field:
    """One field with its meaning in the metadata: unit, domain, null meaning, source, words."""
    meaning = {"unit": unit, "domain": domain, "null": null, "source": source, "en": en, "zh": zh}
    return pa.field(name, type_, metadata={key.encode(): value.encode() for key, value in meaning.items()})
