"""An S3 store on loopback: moto's, one request at a time, with the failures that a store has.

moto looks whether an object is there and puts it in two steps; answering one request at a time makes them one, as
`If-None-Match` promises. What it holds outlives a stop: only its connections and its port go.
Run as a program it serves until its standard input ends, and obeys the lines that `Store` writes.
"""

import http.client
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUCKET = "lake"
KEY, SECRET = "tester-key", "tester-planted-secret"
PROJECT = Path(__file__).parents[1]
REFUSED = """<Error><Code>SignatureDoesNotMatch</Code><Message>wrong</Message><AWSAccessKeyId>{key}</AWSAccessKeyId>
<StringToSign>AWS4-HMAC-SHA256 {key}</StringToSign><SignatureProvided>{key}</SignatureProvided></Error>"""


@dataclass
class Store:
    """The handle that tests hold; `start` it once."""

    port: int = 0
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        command = [sys.executable, str(Path(__file__).resolve())]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=PROJECT
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def say(self, line: str) -> str:
        """Tell the server something; it answers how many requests it had.

        `stop`, `start`, `lose` (the answer to the next log entry), `delay SECONDS`, `hide ENDING` (of names that are
        listed and not there; without one, none), `count`.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            # Whoever finds no keys asks the cloud's own service for some, which is not on this machine.
            "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
        }


class Server:
    """moto behind one lock, on one port, which it can leave and take again."""

    def __init__(self) -> None:
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends
        from moto.server import DomainDispatcherApplication, create_backend_app

        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, "us-east-1")
        self.app = DomainDispatcherApplication(create_backend_app)
        self.one_at_a_time = threading.Lock()
        self.connections: set[Any] = set()
        self.port, self.delay, self.loses, self.n_requests = 0, 0.0, False, 0
        self.hidden = ""
        self.running: Any = None

    def answer(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        time.sleep(self.delay)
        self.n_requests += 1
        told = environ.get("HTTP_AUTHORIZATION", "")
        if f"Credential={KEY}/" not in told:
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [REFUSED.format(key=told.partition("Credential=")[2].partition("/")[0]).encode()]
        if self.hidden and environ["PATH_INFO"].endswith(self.hidden):
            start("404 Not Found", [("Content-Type", "application/xml")])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>"]
        with self.one_at_a_time:
            answer = list(self.app(environ, start))
        if self.loses and environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith(".json"):
            self.loses = False
            environ["werkzeug.socket"].shutdown(2)
        return answer

    def start(self) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        connections = self.connections

        class Handler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                connections.add(self.connection)

            def finish(self) -> None:
                connections.discard(self.connection)
                super().finish()

            def log(self, *_: object) -> None:
                pass

            log_request = log_error = log

        self.running = make_server("127.0.0.1", self.port, self.answer, threaded=True, request_handler=Handler)
        self.running.daemon_threads = True
        self.port = self.running.server_port
        threading.Thread(target=self.running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.running.shutdown()
        self.running.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(2)
            except OSError:
                self.connections.discard(connection)

    def obey(self, word: str, rest: str) -> str:
        if word == "stop":
            self.stop()
        elif word == "start":
            self.start()
        elif word == "lose":
            self.loses = True
        elif word == "delay":
            self.delay = float(rest)
        elif word == "hide":
            self.hidden = rest
        return str(self.n_requests)


def main() -> None:
    server = Server()
    server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        sys.stdout.write(f"{server.obey(word, rest)}\n")
        sys.stdout.flush()


def raw_put(port: int, key: str, body: bytes) -> int:
    """One unsigned conditional write; gives the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"If-None-Match": "*", "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/x/us-east-1/s3/aws4_request"}
    connection.request("PUT", f"/{BUCKET}/{key}", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


if __name__ == "__main__":
    main()
