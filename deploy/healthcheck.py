"""Exits with 0 if what this container runs answers: HEALTHCHECK of the image.

Which service that is stands in the command line of the container's first process. A command that
ends by itself, e.g. `meldflow extract`, has nothing to answer: it is well as long as it runs.
"""

import itertools
import sys
import urllib.request
from pathlib import Path

SERVICES = {
    ("prefect", "server"): "4200/api/health",
    ("prefect", "worker"): "8080/health",
    ("dask", "scheduler"): "8787/health",
    ("dask", "worker"): "8788/health",
    ("meldflow", "up"): "4200/api/health",
}
"""Program and command → where it answers, at the port that this project's files give it."""

words = [Path(word).name for word in Path("/proc/1/cmdline").read_text().split("\0")]
for service, place in SERVICES.items():
    if service in itertools.pairwise(words):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{place}", timeout=10).close()
        except OSError as error:
            sys.exit(f"{' '.join(service)}, port {place}: {error}")
