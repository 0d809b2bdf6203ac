"""swtpm, for the tests that want a TPM."""
import shutil
import socket
import subprocess
import tempfile
import time


def is_there():
    return shutil.which("swtpm") is not None


class Tpm:
    """A software TPM with its own state in a folder. The control port must be the one after the
    server's."""

    def __init__(self, folder):
        self.state = tempfile.mkdtemp(dir=folder)
        self.start()

    def start(self):
        for _ in range(20):
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                port = s.getsockname()[1]
            self.process = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.state,
                 "--server", "type=tcp,port=%d,bindaddr=127.0.0.1" % port,
                 "--ctrl", "type=tcp,port=%d,bindaddr=127.0.0.1" % (port + 1),
                 "--flags", "not-need-init,startup-clear"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.port = port
            self.name = "swtpm:host=127.0.0.1,port=%d" % port
            if self.answers(port):
                return
            self.stop()
        raise AssertionError("swtpm does not start")

    def answers(self, port):
        for _ in range(100):
            if self.process.poll() is not None:
                return False
            with open("/proc/net/tcp") as f:
                text = f.read()
                if all("0100007F:%04X 00000000:0000 0A" % p in text for p in (port, port + 1)):
                    return True
            time.sleep(0.05)
        return False

    def stop(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        """As the machine's power is switched off and on: under a new name."""
        self.stop()
        self.start()

    def ask(self, command):
        """One command as it stands (TCG part 3); what it answers."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as s:
            s.sendall(command)
            answer = b""
            while len(answer) < 10 or len(answer) < int.from_bytes(answer[2:6], "big"):
                piece = s.recv(4096)
                assert piece, answer
                answer += piece
            return answer
