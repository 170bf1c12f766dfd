"""A posted form as fields: urlencoded or multipart, of limited size, files as text."""

from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope

from serving.http.errors import BadRequest, Unprocessable
from serving.http.guard import headers_of, read_limited

BYTES_MAX = 1 << 20  # as a proposed change over HTTP
FIELDS_MAX = 400
MEDIA = (b"application/x-www-form-urlencoded", b"multipart/form-data")


@dataclass(frozen=True)
class Form:
    """The fields of a form; what was not sent is empty."""

    fields: dict[str, list[str]]

    def one(self, name: str) -> str:
        """The field without outer spaces; of several the first."""
        return self.fields.get(name, [""])[0].strip()

    def text(self, name: str) -> str:
        """The field as it was typed, its line ends as files have them."""
        return self.fields.get(name, [""])[0].replace("\r\n", "\n")

    def many(self, name: str) -> list[str]:
        """Every value of the field that is not empty."""
        return [value for value in self.fields.get(name, []) if value.strip()]


NO_FORM = Form({})


async def read_form(scope: Scope, receive: Receive) -> Form:
    """The form of a POST; BadRequest, TooLarge or TooSlow, and Unprocessable where a file is no UTF-8 text."""
    headers = headers_of(scope)
    if headers.get(b"content-type", b"").split(b";")[0].strip().lower() not in MEDIA:
        raise BadRequest("send a form", code="form_only")
    body = await read_limited(headers, receive, BYTES_MAX)

    async def replay() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(scope, replay).form(max_files=4, max_fields=FIELDS_MAX, max_part_size=BYTES_MAX) as found:
            return Form(await _fields(found))
    except HTTPException as error:
        raise BadRequest("the form cannot be read; send it again", code="malformed") from error


async def _fields(found: FormData) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in found.multi_items():
        if isinstance(value, UploadFile):
            try:
                text = (await value.read()).decode("utf-8-sig")
            except UnicodeDecodeError:
                raise Unprocessable("the file is not UTF-8 text; save it as UTF-8") from None
        else:
            text = value
        fields.setdefault(name, []).append(text)
    return fields
