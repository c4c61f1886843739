"""Where the platform's own pages are: on an origin that no function answers on."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec import Struct

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


class PlatformPages(Struct, frozen=True, kw_only=True):
    """The pages and the API know each other by the name under which they were asked, unless an address was set.

    `host` stands where a request names none. `url` and `api_url` are what was set, without a slash at their end.
    """

    host: str
    port: int
    api_port: int
    url: str | None = None
    api_url: str | None = None

    def base(self, asked: str) -> str:
        """The address of the pages, for a request whose `Host` header is `asked`."""
        return self.url or f"http://{self._name(asked)}:{self.port}"

    def api_base(self, asked: str) -> str:
        """The address of the API that a page calls which was asked for under that name."""
        return self.api_url or f"http://{self._name(asked)}:{self.api_port}"

    def are(self, origin: str, asked: str) -> bool:
        """Whether an `Origin` header is that of the pages."""
        return origin == origin_of(self.base(asked))

    def _name(self, asked: str) -> str:
        found = _HOST.fullmatch(asked)
        return (found[1] if found is not None else self.host).lower()


def origin_of(url: str) -> str:
    """Scheme, host and port, as browsers write them."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower()
    default = {"http": ":80", "https": ":443"}[scheme]
    return f"{scheme}://{host.removesuffix(default)}"
