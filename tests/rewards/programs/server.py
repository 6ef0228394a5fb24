"""A reward server that does as the path says; its port is the first line of its stdout."""

import json
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, body, status=200, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        how = self.path.strip("/")
        asked[how] = asked.get(how, 0) + 1
        answer = json.dumps({"id": request["id"], "score": asked[how], "parts": {"two": 2}}).encode()
        if how == "hangs":
            time.sleep(1000)
        elif how == "drips":  # a byte now and then: no single read takes long
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b" ")
                time.sleep(0.2)
        elif how == "busy_twice" and asked[how] <= 2:
            self.say(b"later", 503)
        elif how == "fails_once" and asked[how] == 1:
            self.say(b"oh", 500)
        elif how == "fails":
            self.say(b"out of memory", 500)
        elif how == "not_found":
            self.say(b"no such path", 404)
        elif how == "moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "garbage":
            self.say(b"<html>hello</html>")
        elif how == "floods":
            self.say(b"x" * 100_000_000)
        elif how == "breaks" and asked[how] == 1:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.say(answer)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
