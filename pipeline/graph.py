"""The asset graph as text: one line an asset, for people and for the golden file that guards it.

Stays out: drawing (Dagster does that) and wiring (`definitions`).
"""

from typing import Any

import dagster as dg

ORIGIN = {"answers": "the API"}
"""What an asset is made from that is made from no other, where it is not the recordings."""


def graph_nodes(defs: dg.Definitions) -> list[dict[str, Any]]:
    """Every asset with its group, partitions, blocking checks and what it is made from, upstream first."""
    graph = defs.resolve_asset_graph()
    checks: dict[dg.AssetKey, list[str]] = {}
    for key in sorted(graph.asset_check_keys, key=lambda k: k.name):
        checks.setdefault(key.asset_key, []).append(key.name)
    return [
        {
            "asset": key.to_user_string(),
            "group": graph.get(key).group_name,
            "partitions": "hourly" if graph.get(key).partitions_def else "none",
            "made_from": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "checks": checks.get(key, []),
        }
        for level in graph.toposorted_asset_keys_by_level
        for key in sorted(level, key=lambda k: k.to_user_string())
    ]


def graph_lines(defs: dg.Definitions) -> list[str]:
    """The same, one line an asset."""
    nodes = graph_nodes(defs)
    width = max(len(node["asset"]) for node in nodes)
    return [
        f"{node['asset']:<{width}}  {node['group']:<11}  {node['partitions']:<6}"
        f"  <- {', '.join(node['made_from']) or ORIGIN.get(node['asset'], 'recordings')}  [{', '.join(node['checks'])}]"
        for node in nodes
    ]
