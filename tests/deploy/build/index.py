"""A package index for tests: folders of wheels and source packages, on loopback or as files."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# An in-tree backend: builds without any package from outside. `%s` is the wheel's tag.
BACKEND = """
import base64, hashlib, zipfile
NAME, VERSION, TAG = "%s", "%s", "%s"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = f"{NAME}-{VERSION}.dist-info"
    files = {
        f"{NAME}/__init__.py": "built = True\\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {TAG}\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\\n" for path in [*files, f"{info}/RECORD"])
    wheel = f"{NAME}-{VERSION}-{TAG}.whl"
    with zipfile.ZipFile(f"{folder}/{wheel}", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel
"""


class Index:
    """Packages below `folder`, by their names, as a simple repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def url(self) -> str:
        """Of the files themselves."""
        return self.folder.as_uri()

    def wheel(
        self, name: str, version: str = "1.0", tag: str = "py3-none-any", requires: str = ""
    ) -> Path:
        """A wheel with one module that tells its version and tag."""
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        files = {
            f"{name}/__init__.py": f"version, tag = {version!r}, {tag!r}\n",
            f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        }
        rows = [f"{path},{_digest(text.encode())},{len(text)}" for path, text in files.items()]
        files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for path, text in files.items():
                archive.writestr(zipfile.ZipInfo(path), text)
        return self._add(name, f"{name}-{version}-{tag}.whl", data.getvalue())

    def source(self, name: str, version: str = "1.0", tag: str = "py3-none-any") -> Path:
        """A source package that builds a wheel with `tag`, by itself."""
        top = f"{name}-{version}"
        project = f'[project]\nname = "{name}"\nversion = "{version}"\n'
        files = {
            "pyproject.toml": project
            + '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": BACKEND % (name, version, tag),
            "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
        }
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for path, text in files.items():
                entry = tarfile.TarInfo(f"{top}/{path}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        return self._add(name, f"{top}.tar.gz", data.getvalue())

    def _add(self, package: str, file: str, content: bytes) -> Path:
        folder = self.folder / package.replace("_", "-")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
        rows = [
            f'<a href="{html.escape(path.name)}#sha256='
            f'{hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>'
            for path in sorted(folder.iterdir())
            if path.name != "index.html"
        ]
        (folder / "index.html").write_text("<!DOCTYPE html>\n" + "<br>\n".join(rows))
        return folder / file

    @contextmanager
    def served(self, login: str | None = None) -> Iterator[Served]:
        """On loopback, to whoever knows `login` (user:password)."""
        handler = partial(_Handler, directory=str(self.folder))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            served = Served(server.server_address[1])
            server.login = login  # type: ignore[attr-defined]
            server.served = served  # type: ignore[attr-defined]
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield served
            finally:
                server.shutdown()
                thread.join()


class Served:
    """`asked` are the paths that were asked for, those that were refused among them."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"
        self.asked: list[str] = []

    def url_with(self, login: str) -> str:
        return f"http://{login}@{self.host}"


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        login: str | None = self.server.login  # type: ignore[attr-defined]
        self.server.served.asked.append(self.path)  # type: ignore[attr-defined]
        if login is not None:
            expected = "Basic " + base64.b64encode(login.encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        super().do_GET()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def alone(index: str) -> Mapping[str, str]:
    """Variables with which uv knows `index` and no other place on earth."""
    return {"UV_DEFAULT_INDEX": index, "UV_HTTP_RETRIES": "0", "UV_NO_CONFIG": "1"}


def _digest(content: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + encoded.rstrip(b"=").decode()
