"""HEALTHCHECK of the bridge's image: exit with 0 if the process answers.

`python healthcheck.py` asks a bridge, at its metrics port; `python healthcheck.py 8000` asks the API, at that port.
"""

import http.client
import os
import sys

port = sys.argv[1] if len(sys.argv) > 1 else os.environ["BRIDGE_METRICS_PORT"]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=3)
try:
    connection.request("GET", "/health")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"No answer at port {port}: {error}")
# 503: one of the bridge's consumers stands still.
sys.exit(None if status == http.client.OK else f"Port {port} answered {status}")
