"""Asks a server for its health again and again, from a process of its own, and prints the times.

    health_prober.py HOST PORT SECONDS: prints a JSON list of seconds, one a request, ascending
"""

import http.client
import json
import sys
import time

PATHS = ("/live", "/health", "/ready", "/metrics")
PAUSE_S = 0.003  # between two requests: some hundred a second


def main(host, port, seconds):
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    times = []
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        path = PATHS[len(times) % len(PATHS)]
        if len(times) % 16 == 0:
            connection.close()  # now and then a new one, on another I/O thread
        begin = time.monotonic()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        times.append(time.monotonic() - begin)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
        time.sleep(PAUSE_S)
    print(json.dumps(sorted(times)))


if __name__ == "__main__":
    main(*sys.argv[1:])
