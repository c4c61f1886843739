import http.server
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from isolet.client import ApiError, Client, UnexpectedReply, Unreachable
from isolet.contract.master_key import MasterKeyRotation

ROTATION = MasterKeyRotation()


class _Page(http.server.BaseHTTPRequestHandler):
    """Some other server: a page for everything."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        pass


class _Quiet(http.server.HTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that does not believe it goes away."""


@pytest.fixture
def private(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Another server behind TLS, and the certificate of the private authority that says who it is."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "private")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, tmp_path / "key.pem")
    with _Quiet(("127.0.0.1", 0), _Page) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", file
        server.shutdown()
        thread.join()


@pytest.fixture
def other() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("url", ["http://[::1", "nowhere", "http://127.0.0.1:1"])
def test_an_address_without_a_server_is_told(url: str) -> None:
    with pytest.raises(Unreachable, match=r"^cannot reach "), Client(url, "key") as client:
        client.master_key.rotate(ROTATION)


def test_a_key_that_no_header_holds_is_told() -> None:
    with pytest.raises(ApiError, match=r"^the key cannot be sent"), Client("http://127.0.0.1:1", "schlüssel"):
        pass


def test_a_server_is_believed_whose_authority_the_machine_knows(
    private: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = private
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"), Client(url, "key") as client:
        client.master_key.rotate(ROTATION)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(UnexpectedReply), Client(url, "key") as client:
        client.master_key.rotate(ROTATION)


def test_another_server_is_told(other: str) -> None:
    with (
        pytest.raises(UnexpectedReply, match=r"^the server answered 200: <html>welcome"),
        Client(other, "key") as client,
    ):
        client.master_key.rotate(ROTATION)
