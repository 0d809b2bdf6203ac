"""A script's tests, one after the other or some at a time, as TAP on standard output."""
import concurrent.futures
import traceback


class Skipped(str):
    """Why a test was not made."""


def skip(why):
    """What a test returns that cannot be made here."""
    return Skipped(why)


def attempt(test):
    """None, or what went wrong, or why it was skipped."""
    try:
        r = test()
        return r if isinstance(r, Skipped) else None
    except BaseException:  # every test is told of, whatever it met
        return traceback.format_exc()


def run(tests, at_once=1):
    """Exit status: whether any of them failed. Results come in the order of the tests."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return run_here(tests, pool.map)


def run_here(tests, each=map):
    """The same on the caller's thread."""
    print("1..%d" % len(tests))
    failed = 0
    for i, (test, why) in enumerate(zip(tests, each(attempt, tests)), 1):
        skipped = isinstance(why, Skipped)
        print("%s %d - %s%s" % ("not ok" if why and not skipped else "ok", i, test.__name__,
                                " # SKIP " + why if skipped else ""), flush=True)
        if why and not skipped:
            failed += 1
            print("\n".join("# " + line[:600] for line in why.splitlines()), flush=True)
    return 1 if failed else 0


def sanitized(program):
    """Whether it was built with a sanitizer, which takes memory and time of its own."""
    with open(program, "rb") as f:
        words = f.read()
    return b"__asan_init" in words or b"__tsan_init" in words
