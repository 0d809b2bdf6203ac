#!/usr/bin/env python3
"""The mesh in half a minute: five real processes in network namespaces, a network that is cut in two and heals, a leader
that is killed; under a light load, every step timed, every claim checked, and all of it drawn as a timeline.

usage: demo.py SELVAGE OUT.svg [--json]      --json: the times that were measured; the story goes to standard error

Exit status: 0: all that demo_claims.py claims has held; 1: one line says what did not; 2: it could not be tried here.
"""
import os
import signal
import sys

import demo_net

USAGE = "usage: demo.py SELVAGE OUT.svg [--json]"


def ended(*_):
    sys.exit(143)


def main():
    given = [a for a in sys.argv[1:] if a not in ("--json", demo_net.INSIDE)]
    if len(given) != 2 or any(a.startswith("-") for a in given):
        print(USAGE, file=sys.stderr)
        return 2
    folder = os.path.dirname(os.path.abspath(given[1]))
    for path, right, what in (given[0], os.X_OK, "program"), (folder, os.W_OK, "folder to write in"):
        if not os.access(path, right):
            print("demo: %s: no such %s" % (path, what), file=sys.stderr)
            return 2
    try:
        demo_net.enter()
    except demo_net.Impossible as e:
        print("demo: " + str(e), file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, ended)
    sys.argv.remove(given[0])
    sys.argv.insert(1, given[0])  # where nodes.py looks for the program
    import demo_story
    return demo_story.tell(os.path.abspath(given[1]), "--json" in sys.argv)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        sys.exit(130)
