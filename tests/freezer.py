"""A server that stops answering while connections to it are open."""

from __future__ import annotations

import socket
import threading


class Freezer:
    """A TCP proxy in front of a server. Frozen, it takes everything and passes nothing on. Ended, it refuses all."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._thawed = threading.Event()
        self._thawed.set()
        self._ended = False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def end(self) -> None:
        """Refuse new connections, and close those that are open as soon as something passes."""
        if self._ended:
            return
        self._ended = True
        self.thaw()
        # Closing alone would not wake the thread that accepts, and the socket would listen on.
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=[source, target], daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._thawed.wait()
                if self._ended:
                    break
                target.sendall(data)
        except OSError:
            pass
        source.close()
        target.close()
