from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of manifests.

    Editors complete and check with it.
    """
    import json

    import manifests

    print(json.dumps(manifests.json_schema(), indent=2))
