"""What a cluster's autoscaler is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from ray.autoscaler.sdk import request_resources

from llem_sweep.plan.need import Need

MOST_BUNDLES = 1000
"""Beyond this many workers at once, the autoscaler's own limits decide anyway."""


class Scaling:
    """Asks for what the queue needs, and takes the request back at the end.

    A request stands until the next one; a cluster that doesn't scale ignores it.
    """

    def __init__(self) -> None:
        self._asked = False

    def want(self, needs: Mapping[Need, int]) -> None:
        """So many workers for each need would find work at once."""
        bundles: list[dict[str, float]] = []
        selectors: list[dict[str, str]] = []
        for need, count in needs.items():
            for _ in range(min(count, MOST_BUNDLES - len(bundles))):
                bundles.append(bundle(need))
                selectors.append(selector(need))
        request_resources(bundles=bundles, bundle_label_selectors=selectors)
        self._asked = True

    def close(self) -> None:
        """Nothing is needed any more."""
        if self._asked:
            request_resources(bundles=[])
            self._asked = False


def bundle(need: Need) -> dict[str, float]:
    """Resources of one worker, on one node."""
    return {"GPU": float(need.boards)} if need.boards else {"CPU": 1.0}


def selector(need: Need) -> dict[str, str]:
    """Labels of the nodes that will do; empty for any."""
    kinds = need.accelerators
    return {"ray.io/accelerator-type": f"in({','.join(kinds)})"} if kinds else {}
