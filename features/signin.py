"""How people sign in to the console: with a password of this house, through the bank's proxy, or its OpenID provider.

Part of bank.yaml (`sign_in`). Secrets never stand there: a file beside it holds each, readable by its owner only.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Claim = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$")]
# A role, or `channel:call`: a desk, whose users act as `call-NAME`.
Granted = Annotated[str, Field(pattern=r"^(marketing|compliance|data_science|admin|channel:[a-z]{1,20})$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProxySettings(_Frozen):
    """A proxy in front that signs people in. It proves itself by a secret, for anybody can send a header."""

    name_header: HeaderName = "X-Forwarded-User"
    groups_header: HeaderName = "X-Forwarded-Groups"  # separated by commas
    secret_header: HeaderName = "X-Proxy-Secret"
    secret_file: FileName = "proxy.secret"


class OidcSettings(_Frozen):
    """An OpenID provider. ca_file: the authority of its certificate, in the home; null: those the machine trusts."""

    issuer: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]
    client_id: Annotated[str, Field(min_length=1, max_length=200)]
    secret_file: FileName = "oidc.secret"
    name_claim: Claim = "preferred_username"
    groups_claim: Claim = "groups"
    ca_file: FileName | None = None

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        if not self.issuer.startswith("https:") and not self.issuer.startswith("http://127.0.0.1:"):
            raise ValueError("`issuer` is not https; a sign-in in plain text is none")
        return self


class SignIn(_Frozen):
    """`way`: one for everybody. groups: of the proxy or provider -> role; who is in none of them stays outside."""

    way: Literal["password", "proxy", "oidc"] = "password"
    groups: dict[str, Granted] = Field(default_factory=dict)
    proxy: ProxySettings = ProxySettings()
    oidc: OidcSettings | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.way == "oidc" and self.oidc is None:
            raise ValueError("`way: oidc` needs `oidc` with issuer and client_id")
        if self.way != "password" and not self.groups:
            raise ValueError(f"`way: {self.way}` needs `groups`: who is in which role")
        return self
