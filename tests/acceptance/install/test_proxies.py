"""The configurations of nginx and Caddy in the guide: streams, WebSockets, hosts and the client's address pass."""

from __future__ import annotations

import datetime
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct
from websockets.sync.client import connect

from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.wheel import ROOT

PAGE = (ROOT / "docs/guide/running.md").read_text()
HOST = "isolet.example.com"
# The proxies ask from 127.0.0.1, which the server trusts. Clients are elsewhere.
CLIENT = "127.0.0.77"
CODE = """
const open = new Set();
export default {
  async fetch(request, env, ctx) {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/open") return new Response(String(open.add(search).size > 0));
    if (pathname === "/socket") {
      const { 0: client, 1: server } = new WebSocketPair();
      server.accept();
      server.addEventListener("message", ({ data }) => server.send(data.toUpperCase()));
      return new Response(null, { status: 101, webSocket: client });
    }
    if (pathname === "/events") {
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      const send = async () => {
        await writer.write(new TextEncoder().encode("data: one\\n\\n"));
        while (!open.has(search)) await scheduler.wait(10);
        await writer.write(new TextEncoder().encode("data: two\\n\\n"));
        await writer.close();
      };
      ctx.waitUntil(send());
      return new Response(readable, { headers: { "content-type": "text/event-stream" } });
    }
    if (pathname === "/other") return new Response("own", { headers: { "x-accel-redirect": "/healthz" } });
    const shown = ["x-real-ip", "x-forwarded-proto", "host"].map((name) => request.headers.get(name));
    return Response.json({ url: request.url, shown });
  },
};
"""


def program(name: str) -> str:
    """Of the machine, or unpacked by `make setup-dev`."""
    unpacked = ROOT / ".venv/debian/usr"
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:{unpacked}/sbin:{unpacked}/bin")
    assert found is not None, f"{name} is missing: run `make setup-dev`"
    return found


def shown(language: str) -> str:
    """The one block of a language in the guide."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(HOST), x509.DNSName("*.fn.example.com")]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "isolet.pem", folder / "isolet.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return pem, private


class Proxy(Struct, frozen=True, kw_only=True):
    address: tuple[str, int]
    tls: ssl.SSLContext

    def client(self, host: str = HOST) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.tls, local_address=CLIENT)
        url = "https://{}:{}".format(*self.address)
        return httpx.Client(base_url=url, headers={"Host": host}, transport=transport, timeout=60)

    def get(self, path: str, host: str = HOST, **headers: str) -> httpx.Response:
        with self.client(host) as client:
            return client.get(path, headers=headers, extensions={"sni_hostname": host})


def as_nginx(text: str, server: str, address: tuple[str, int], folder: Path) -> list[str]:
    sites = text.replace("127.0.0.1:7878", server).replace("listen 443 ssl", "listen {}:{} ssl".format(*address))
    sites = sites.replace("/etc/ssl", str(folder))
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{sites}}}\n"
    )
    return [program("nginx"), "-p", str(folder), "-e", f"{folder}/error", "-c", f"{folder}/nginx.conf"]


def as_caddy(text: str, server: str, address: tuple[str, int], folder: Path) -> list[str]:
    site = text.replace("127.0.0.1:7878", server).replace("/etc/ssl", str(folder))
    host, port = address
    options = f"https_port {port}\n default_bind {host}\n admin off\n auto_https disable_redirects"
    (folder / "Caddyfile").write_text(f"{{\n {options}\n}}\n{site}")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"trusted_proxies": "127.0.0.1/32", "functions_domain": "fn.example.com", "dashboard_port": "off"}
    data = tmp_path_factory.mktemp("proxied") / "data"
    with Server(data, public_url=f"https://{HOST}", **settings) as server:
        # It says what clients use, and without pages it listens on one port.
        (port,) = {
            at.laddr.port
            for at in psutil.Process(server.process.pid).net_connections("tcp")
            if at.status == psutil.CONN_LISTEN
        }
        server.url = f"http://127.0.0.1:{port}"
        yield server


@pytest.fixture(scope="module")
def project(server: Server) -> Iterator[Project]:
    with server.client() as root, new_project(server, root) as project:
        body = {"code": CODE, "access": "public"}
        made = root.put(f"/isolet/v1/projects/{project.slug}/functions/one?wait=60", json=body)
        assert made.json()["status"] == "deployed", made.text
        yield project


@pytest.fixture(scope="module", params=[("nginx", as_nginx), ("caddy", as_caddy)], ids=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, server: Server, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    language, configured = request.param
    folder = tmp_path_factory.mktemp(language)
    pem, _ = certificate(folder)
    command_of: Callable[[str, str, tuple[str, int], Path], list[str]] = configured
    # An address of its own, so that nobody else takes the port meanwhile.
    with socket.create_server((f"127.{random.randint(128, 254)}.{random.randint(0, 255)}.7", 0)) as free:
        address = free.getsockname()
    command = command_of(shown(language), server.url.removeprefix("http://"), address, folder)
    with (folder / "log").open("wb") as log:
        environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def listens() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with socket.socket() as attempt:
            return attempt.connect_ex(address) == 0

    try:
        wait_until(listens, what=f"{language} to listen")
        yield Proxy(address=address, tls=ssl.create_default_context(cafile=str(pem)))
    finally:
        process.terminate()
        process.wait(60)


def test_a_function_sees_the_client_and_what_it_asked_for(proxy: Proxy, project: Project) -> None:
    reply = proxy.get(f"/f/{project.slug}/one/x?y=%20z", **{"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6"})
    assert reply.json() == {"url": f"https://{HOST}/x?y=%20z", "shown": [CLIENT, "https", HOST]}


def test_a_function_answers_on_a_host_of_its_own(proxy: Proxy, project: Project) -> None:
    host = f"one--{project.slug}.fn.example.com"
    assert proxy.get("/x", host=host).json()["url"] == f"https://{host}/x"


def test_a_function_has_the_proxy_send_no_other_place(proxy: Proxy, project: Project) -> None:
    for path, host in ((f"/f/{project.slug}/one/other", HOST), ("/other", f"one--{project.slug}.fn.example.com")):
        assert proxy.get(path, host=host).text == "own"


def test_a_stream_comes_as_it_is_sent(proxy: Proxy, project: Project) -> None:
    path, stream = f"/f/{project.slug}/one", "{}:{}".format(*proxy.address)
    extensions = {"sni_hostname": HOST}
    with proxy.client() as client, client.stream("GET", f"{path}/events?{stream}", extensions=extensions) as reply:
        lines = reply.iter_lines()
        assert next(lines) == "data: one"
        # What was sent is here before the rest is.
        assert proxy.get(f"{path}/open?{stream}").text == "true"
        assert [line for line in lines if line] == ["data: two"]


def test_a_websocket_is_passed_on(proxy: Proxy, project: Project) -> None:
    with socket.create_connection(proxy.address) as connection:
        url = f"wss://{HOST}/f/{project.slug}/one/socket"
        with connect(url, sock=connection, ssl=proxy.tls, open_timeout=60) as client:
            client.send("hello")
            assert client.recv(timeout=60) == "HELLO"
