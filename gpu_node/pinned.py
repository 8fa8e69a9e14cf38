"""TLS to a server that is known by its key: the pin of an invitation says which one it is."""

from __future__ import annotations

import hmac
import ssl
from typing import Any, Self

import httpx

from common.certificates import pin_of_der
from common.errors import Forbidden


class WrongServer(Forbidden):
    """What answers is not the farm of the invitation; nothing was sent to it."""


class PinnedContext(ssl.SSLContext):
    """Accepts the server whose certificate has this pin, and no other, whoever signed it.

    The handshake has proved that the server has the key. Its name and dates do not count. With `host`, only
    that one is known by the pin, and others by certificates.
    """

    def __new__(cls, pin: str, host: str = "") -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, pin: str, host: str = "") -> None:
        self._pin, self._host = pin, host
        self._others = httpx.create_ssl_context() if host else None
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE
        self.minimum_version = ssl.TLSVersion.TLSv1_2

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Raises WrongServer, and OSError as the handshake does."""
        if self._others is not None and options.get("server_hostname") != self._host:
            return self._others.wrap_socket(*arguments, **options)
        connection = super().wrap_socket(*arguments, **options)
        certificate = connection.getpeercert(binary_form=True) or b""
        if not self._is_right(certificate):
            connection.close()
            raise WrongServer(
                "the server has another key than the invitation says, so it may not be your farm: "
                "ask the operator of the farm for a new invitation"
            )
        return connection

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Raises WrongServer: the handshake would come after the check."""
        raise WrongServer(
            "the key of the farm cannot be checked through an https:// proxy: use an http:// one"
        )

    def _is_right(self, certificate: bytes) -> bool:
        try:
            return hmac.compare_digest(pin_of_der(certificate), self._pin)
        except ValueError:
            return False
