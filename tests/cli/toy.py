"""A toy process of a mesh: answers `/healthz`, and misbehaves as its arguments say.

    python -I toy.py PORT [stubborn] [dies] [parent] [sick]

`stubborn` ignores SIGTERM and SIGINT, `dies` exits with 3 at once, `parent` starts a child of its
own and prints its pid, `sick` answers 503.
"""

import http.server
import signal
import subprocess
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if "sick" in sys.argv else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def main(port: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends it, without a traceback
    print("on standard output", flush=True)
    print("on standard error", file=sys.stderr, flush=True)
    if "dies" in sys.argv:
        sys.exit(3)
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "parent" in sys.argv:
        child = subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(3600)"])
        print(f"child {child.pid}", flush=True)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
