#!/usr/bin/env python3
"""A device key whose secret a TPM keeps: it works as any other, its file has no secret, and with another
TPM, or none, it is refused with one line.

usage: test_tpm.py SELVAGE      prints TAP; skipped without swtpm, or where the program has no --tpm
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import swtpm
import tap

PROGRAM = os.path.abspath(sys.argv[1])
BASE = tempfile.mkdtemp(prefix="selvage-tpm-")


def run(tpm, home, *args, want=0, says=None):
    env = {"PATH": os.environ["PATH"], "SELVAGE_HOME": home, "SELVAGE_TPM": tpm}
    env.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_"))})
    p = subprocess.run([PROGRAM, *args], env=env, cwd=home, text=True, timeout=60,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    context = "%s\nexit %s\n%s%s" % (" ".join(args), p.returncode, p.stdout, p.stderr)
    assert p.returncode == want and "Sanitizer" not in p.stderr, context
    assert want == 0 or (p.stderr.startswith("selvage: ") and p.stderr.count("\n") == 1), context
    assert says is None or re.search(says, p.stderr), context
    return p.stdout


def a_tpm_keeps_the_secret():
    tpm, other, home = swtpm.Tpm(BASE), swtpm.Tpm(BASE), tempfile.mkdtemp(dir=BASE)
    key = home + "/keys/device.key"
    try:
        assert "secret in the TPM" in run(tpm.name, home, "key", "new", "--tpm")
        with open(home + "/m", "w") as f:
            f.write("model")
        for _ in range(3):  # no object may be left in the TPM: it has room for three
            run(tpm.name, home, "sign", "m")
            run(tpm.name, home, "seal", "m", "s", "--force")
            run(tpm.name, home, "key", "rotate")
            run(tpm.name, home, "unseal", "s", "out", "--force")
        run(tpm.name, home, "verify", "m")
        with open(key) as f:
            text = f.read()
        assert "secret" not in text and text.count("\ntpm ") == 4
        run(other.name, home, "sign", "m", want=5, says="did not seal this secret")
        run(other.name, home, "unseal", "s", "no", want=5, says="did not seal this secret")
        run("swtpm:host=127.0.0.1,port=1", home, "sign", "m", want=1, says="TPM: cannot be reached")
        run("swtpm:host=127.0.0.1,port=1", home, "key", "show")  # asks for no secret
        run("swtpm:host=127.0.0.1,port=1", home, "verify", "m")
        for at in (text.index("tpm ") + 4, text.index("tpm ") + 100, text.index("tpm ") + 300):
            with open(key, "w") as f:
                f.write(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1:])
            run(tpm.name, home, "sign", "m", want=5, says="TPM: ")
    finally:
        tpm.stop()
        other.stop()


def main():
    help_text = subprocess.run([PROGRAM, "key", "new", "--help"], stdout=subprocess.PIPE, text=True).stdout
    if not swtpm.is_there() or "--tpm" not in help_text:
        print("1..0 # SKIP no swtpm, or a program without TPM")
        return 0
    try:
        return tap.run([a_tpm_keeps_the_secret])
    finally:
        shutil.rmtree(BASE, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
