#!/usr/bin/env python3
"""How long a strong space is without a leader: three processes with DTLS and stores on one disk, of which the one that
leads is killed (SIGKILL), again and again, while a client writes at another.

usage: failover.py SELVAGE [KILLS]
"""
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "..", "tests", "mesh")]
from test_strong import Group, leader, read, write  # noqa: E402
from nodes import until  # noqa: E402

KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 20


def main():
    times, acked = [], 0
    with Group(3) as m:
        m.founded(3)
        for k in range(KILLS):
            until(lambda: leader(m) and len(leader(m).sees("alive")) == 3, 20, "all to be well")
            dead = leader(m)
            client = next(n for n in m.nodes if n is not dead)
            for i in range(20):
                assert write(client, "k%d-%d" % (k, i), i)[0] == 200
                acked += 1
            dead.kill()
            since = time.monotonic()
            assert write(client, "k%d-after" % k, k, 20000)[0] == 200
            times.append(time.monotonic() - since)
            acked += 1
            dead.start()
        until(lambda: leader(m), 20, "a leader")
        for k in range(KILLS):
            for key in ["k%d-%d" % (k, i) for i in range(20)] + ["k%d-after" % k]:
                assert read(m[0], key)[0] == 200, key + " is lost"
    times.sort()
    print("fail-over  %d leaders killed: median %.2f s, worst %.2f s; %d acknowledged writes, 0 lost" %
          (KILLS, statistics.median(times), times[-1], acked))


if __name__ == "__main__":
    main()
