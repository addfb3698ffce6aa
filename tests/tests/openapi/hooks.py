"""What no schema can say of a body: which of its members must agree, and what there is in the cluster.

A body that is made of the schemas alone breaks such a rule nearly always, and is refused before it comes to anything. So
one that is to be taken is an example of the document's, with those members as they were made that are free.
"""

import itertools

import schemathesis
from schemathesis import GenerationMode

# Members of a spec that agree with nothing else.
FREE = ("args", "drainPolicy", "tags", "type")
# Spans of time have bounds that differ from one to the next: a schema knows their form alone.
PACE = {"timeout": "5 minutes", "parallelism": 1, "failureStrategy": "STOP"}

turns = itertools.count()
operations = itertools.count()


def examples(operation):
    content = operation.definition.raw["requestBody"]["content"]["application/json"]
    return {name: example["value"] for name, example in content["examples"].items()}


def mended_spec(example, made):
    return {**example, **{name: made[name] for name in FREE if name in made}}


def mended_operation(create, made):
    """A service that is not there yet; every other time something for the one that is, whose state may refuse it."""
    turn = next(operations)
    if "spec" in made or turn % 2 == 0:
        spec = {**mended_spec(create["spec"], made.get("spec", {})), "name": f"made-{turn}"}
        return {**create, "spec": spec}
    paces = {name: PACE for name in ("opSpec", "clusterOpSpec") if name in made}
    counts = {"instancesPerHost": 1} if "instancesPerHost" in made else {}
    return {**made, "serviceId": "web-1", **paces, **counts}


@schemathesis.hook
def map_case(context, case):
    is_random = case.meta is not None and case.meta.phase.name == "fuzzing"
    if not is_random or case.meta.generation.mode != GenerationMode.POSITIVE or not isinstance(case.body, dict):
        return case
    path = case.operation.path
    known = examples(case.operation)
    if path == "/localservices/operations":
        case.body = mended_operation(known["create"], case.body)
        # A generation that no service may be of.
        case.headers.pop("If-Match", None)
    elif path in ("/localservices/validate/spec", "/localservices/placement"):
        case.body = mended_spec(list(known.values())[next(turns) % len(known)], case.body)
    elif path == "/cluster/executors/{executor}/tags":
        # All of them, or what is to change: not both.
        both = ("add", "remove") if case.body.get("tags") is not None else ("tags",)
        case.body = {name: value for name, value in case.body.items() if name not in both}
    elif path == "/cluster/placement/simulate":
        example = known["container"]
        case.body = {**example, "spec": mended_spec(example["spec"], case.body["spec"])}
    return case
