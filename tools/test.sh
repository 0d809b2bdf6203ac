#!/bin/sh
# test.sh BUILD [meson test arguments]: run tests and close with what failed and "N passed, N failed".
set -u
build=$1
shift
meson test -C "$build" --no-rebuild --print-errorlogs "$@"
status=$?
python3 - "$build" <<'P'
import json, pathlib, re, sys
passed = failed = skipped = 0
SHOWN = 20  # lines of a test that failed: its log may be long, and of ours only the end may be kept
log = pathlib.Path(sys.argv[1], "meson-logs/testlog.json")
for line in log.read_text().splitlines():
    test = json.loads(line)
    out = test.get("stdout", "")
    oks = len(re.findall(r"^ok \d+", out, re.M))
    bad = len(re.findall(r"^not ok \d+", out, re.M))
    if test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL"):
        lines = [l for l in out.splitlines() + test.get("stderr", "").splitlines() if not re.match(r"ok \d|1\.\.", l)]
        print(f"{test['name']}: {test['result']}", *lines[-SHOWN:], sep="\n    ")
    if test["result"] == "SKIP":
        skipped += 1
    elif oks + bad:
        passed += oks
        failed += bad if test["result"] != "OK" else 0
        failed += test["result"] != "OK" and not bad
    else:
        passed += test["result"] == "OK"
        failed += test["result"] != "OK"
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
P
exit $status
