"""One line that people read, in the two languages of the house."""

from pydantic import BaseModel, ConfigDict


class Line(BaseModel):
    """English and Chinese of one line; `str` of it is the English one."""

    model_config = ConfigDict(frozen=True)

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    @classmethod
    def alike(cls, text: str) -> "Line":
        """A line that is the same in both: names, numbers, what only its English author can mend."""
        return cls(en=text, zh=text)
