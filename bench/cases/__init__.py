"""The cases, by name, in the order in which they run."""

from collections.abc import Mapping

from ..case import Case
from . import burst, contacts, create, funnel, growth, latency, move, scaling, start, webhook

CASES: Mapping[str, Case] = {
    # First, while the small system is small.
    "growth": growth.run,
    "funnel": funnel.run,
    "webhook": webhook.run,
    "move": move.run,
    "create": create.run,
    "contacts": contacts.run,
    "scaling": scaling.run,
    "latency": latency.run,
    "burst": burst.run,
    "start": start.run,
}
