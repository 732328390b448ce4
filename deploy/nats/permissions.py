#!/usr/bin/env python3
"""Writes accounts.conf: what each role may publish and subscribe to. `--check` says whether the file is up to date.

Every role makes sure of the streams when it starts, so all may create and update streams; none may delete one.
"""

import pathlib
import sys

LANES = ["hot", "bulk", "hint"]

# What is needed to start, to read records and artifacts, and to store an artifact.
COMMON = [
    "$JS.API.INFO",
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.UPDATE.*",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.CONSUMER.CREATE.OBJ_artifacts",
    "$JS.API.CONSUMER.CREATE.OBJ_artifacts.>",
    "$JS.API.CONSUMER.DELETE.OBJ_artifacts.*",
    "$JS.API.CONSUMER.INFO.OBJ_artifacts.*",
    "$JS.FC.OBJ_artifacts.>",
    "$KV.blobs.>",
    "$O.artifacts.>",
    # The client clears the chunks of an object that was stored twice at the same time.
    "$JS.API.STREAM.PURGE.OBJ_artifacts",
]
PURGE_ARTIFACTS = ["$JS.API.STREAM.PURGE.KV_blobs"]


def consumer(stream, name):
    """A durable consumer: made, asked, pulled from, acknowledged."""
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}.{name}",
        f"$JS.API.CONSUMER.CREATE.{stream}.{name}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.{name}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}",
        f"$JS.ACK.{stream}.{name}.>",
    ]


def stage(name, *lanes):
    """A stage of the work queue: its consumers and its dead letters."""
    subjects = [f"dead.{name}"] + [f"jobs.{name}.{lane}" for lane in lanes]
    for lane in lanes:
        subjects += consumer("JOBS", f"{name}-{lane}")
    return subjects


def later(name):
    """A stage with claims puts work off for longer than a delayed NAK may."""
    return ["schedule.*", f"dead.{name}-later"] + consumer("LATER", f"{name}-later")


def log(stream, name, lane):
    """A stage that reads a log."""
    return [f"dead.{name}"] + consumer(stream, f"{name}-{lane}")


def tail(stream):
    """A reader of a stream without a durable consumer, whose name the server or the client makes up."""
    return [
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.API.CONSUMER.DELETE.{stream}.*",
        f"$JS.FC.{stream}.>",
    ]


ROLES = {
    "gateway": COMMON
    + ["events.image.*", "events.layer.*", "events.cluster.*", "query.v1.*"]
    + [f"jobs.manifest.{lane}" for lane in LANES]
    + tail("FINDINGS"),
    "unpack": COMMON
    + ["events.image.pushed", "facts.manifest", "facts.ready", "facts.layer", "facts.image", "facts.resolved"]
    + ["$KV.scans.>", "$KV.layers.>", "$KV.claims.>"]
    + [f"jobs.sbom.{lane}" for lane in LANES]
    + stage("manifest", "hot", "bulk")
    + stage("layer", *LANES)
    + later("layer")
    + log("EVENTS", "manifest", "hot")
    + log("EVENTS", "hint", "hint")
    + log("EVENTS", "resolve", "hot")
    + log("FACTS", "join", "hot"),
    "sbom": COMMON
    + ["facts.image"]
    + [f"jobs.{to}.{lane}" for to in ("scan", "manifest") for lane in LANES]
    + stage("sbom", "hot", "bulk")
    + log("FACTS", "sbom", "hot"),
    "scan": COMMON + ["facts.image", "facts.match"] + stage("scan", "hot", "bulk"),
    "netpol": COMMON
    + PURGE_ARTIFACTS
    + ["facts.exposure", "dead.netpol", "dead.fold-netpol", "$KV.clusters.>"]
    + consumer("EVENTS", "fold-netpol"),
    "aggregator": COMMON
    + PURGE_ARTIFACTS
    + ["findings.v1.>", "jobs.scan.bulk", "dead.*", "$KV.control.>", "$KV.layers.>", "_INBOX.>"]
    + ["$JS.API.STREAM.MSG.DELETE.JOBS"]
    + consumer("EVENTS", "aggregator")
    + consumer("FACTS", "aggregator")
    + consumer("ADVISORIES", "sweeper"),
    "feeds": COMMON + ["events.db.updated", "$KV.control.>"],
    # The command line: `plimsoll backup` asks the aggregator. For people who run the service.
    "operator": ["$JS.API.>", "query.v1.*", "$KV.>", "$O.>", "jobs.>"],
    # Whoever listens to findings and may see nothing else.
    "findings": tail("FINDINGS"),
}

SUBSCRIBE = {
    "aggregator": ["query.v1.*"],
    "operator": [">"],
    "findings": ["findings.v1.>"],
}


def block(name, values, indent):
    pad = " " * indent
    lines = "".join(f'{pad}  "{value}"\n' for value in values)
    return f"{pad}{name}: [\n{lines}{pad}]\n"


def render():
    out = [
        "# Written by permissions.py: change it there. Passwords come from the environment of nats-server.\n",
        "accounts {\n",
        "  SYS { users: [{ user: sys, password: $NATS_SYS_PASSWORD }] }\n",
        "  PLIMSOLL {\n    jetstream: enabled\n    users: [\n",
    ]
    for role, publish in ROLES.items():
        subscribe = ["_INBOX.>"] + SUBSCRIBE.get(role, [])
        out.append("      {\n")
        out.append(f"        user: {role}, password: $NATS_{role.upper()}_PASSWORD\n        permissions: {{\n")
        out.append("          publish: {\n" + block("allow", dict.fromkeys(publish), 12) + "          }\n")
        out.append("          subscribe: {\n" + block("allow", subscribe, 12) + "          }\n")
        out.append("        }\n      }\n")
    out.append("    ]\n  }\n}\nsystem_account: SYS\n")
    return "".join(out)


def main():
    path = pathlib.Path(__file__).with_name("accounts.conf")
    text = render()
    if "--check" in sys.argv[1:]:
        if not path.exists() or path.read_text() != text:
            sys.exit("accounts.conf is not what permissions.py writes: run it")
        return
    path.write_text(text)


main()
