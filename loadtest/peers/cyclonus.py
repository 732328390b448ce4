#!/usr/bin/env python3
"""Network policies of one made cluster, judged by cyclonus and by Plimsoll: who is allowed what, and how long it takes.

    go install github.com/mattfenwick/cyclonus/cmd/cyclonus@v0.5.6
    loadtest/peers/cyclonus.py --plimsoll target/release/plimsoll --cyclonus ~/go/bin/cyclonus 100x50 200x100

A size is PODSxPOLICIES. Cyclonus is asked by its `probe`, which judges each pair of pods for two ports; Plimsoll lists every
connection. Both read the same policies from one file; cyclonus has the pods from its own JSON model. Every verdict is
compared. Exit code 1 when one differs, 2 when a program fails. Pods have one IPv4 address each, and address blocks match
pods in cyclonus, so Plimsoll runs with --block-pods match.
"""

import argparse
import csv
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

PROBES = [("TCP", 80, "http"), ("UDP", 53, "dns")]
KEYS = ["app", "tier", "zone"]


def selector(dice, values):
    """A label selector of the forms that Kubernetes has. NotIn asks for the key too: without it a label that is missing
    matches in Kubernetes, and does not in cyclonus."""
    form = dice.randrange(6)
    key = dice.choice(KEYS)
    if form == 0:
        return {}
    if form <= 2:
        return {"matchLabels": {key: f"v{dice.randrange(values)}"}}
    if form == 3:
        some = sorted({f"v{dice.randrange(values)}" for _ in range(2)})
        among = {"key": key, "operator": dice.choice(["In", "NotIn"]), "values": some}
        return {"matchExpressions": [among, {"key": key, "operator": "Exists"}]}
    return {"matchExpressions": [{"key": key, "operator": dice.choice(["Exists", "DoesNotExist"])}]}


def port(dice):
    protocol, number, name = dice.choice(PROBES)
    form = dice.randrange(5)
    if form == 0:
        return {"protocol": protocol}
    if form == 1:
        return {"protocol": protocol, "port": name}
    if form == 2:
        return {"protocol": protocol, "port": number - 10, "endPort": number + dice.randrange(-9, 20)}
    return {"protocol": protocol, "port": number + dice.choice([0, 0, 0, 1])}


def peer(dice, values):
    form = dice.randrange(4)
    if form == 0:
        octet = dice.randrange(4)
        return {"ipBlock": {"cidr": f"10.0.{octet}.0/24", "except": [f"10.0.{octet}.{dice.randrange(8) * 32}/27"]}}
    if form == 1:
        return {"podSelector": selector(dice, values)}
    if form == 2:
        return {"namespaceSelector": selector(dice, values)}
    return {"podSelector": selector(dice, values), "namespaceSelector": selector(dice, values)}


def rule(dice, side, values):
    made = {}
    if dice.randrange(8):
        made[side] = [peer(dice, values) for _ in range(dice.randrange(1, 3))]
    if dice.randrange(3):
        made["ports"] = [port(dice) for _ in range(dice.randrange(1, 3))]
    return made


def labels(dice, values):
    return {key: f"v{dice.randrange(values)}" for key in KEYS if dice.randrange(4)}


def cluster(pods, policies, seed):
    """Namespaces, pods and policies as Kubernetes objects."""
    dice = random.Random(seed)
    values = max(3, pods // 20)
    names = [f"ns{n}" for n in range(max(2, pods // 20))]
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": labels(dice, values)}} for n in names
    ]
    made_pods = []
    for n in range(pods):
        ports = [{"containerPort": number, "protocol": protocol, "name": name} for protocol, number, name in PROBES]
        made_pods.append({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{n}", "namespace": names[n % len(names)], "labels": labels(dice, values)},
            "spec": {"containers": [{"name": "c", "image": "registry.test/c:1", "ports": ports}]},
            "status": {"podIP": f"10.0.{n // 250}.{n % 250 + 1}"},
        })
    made_policies = []
    for n in range(policies):
        spec = {"podSelector": selector(dice, values)}
        kinds = dice.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
        spec["policyTypes"] = kinds
        for kind, field, side in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")]:
            if kind in kinds and dice.randrange(6):
                spec[field] = [rule(dice, side, values) for _ in range(dice.randrange(1, 4))]
        made_policies.append({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"np{n}", "namespace": dice.choice(names)},
            "spec": spec,
        })
    return namespaces, made_pods, made_policies


def run(command):
    """The output of a program, its seconds of wall, of processor, and its peak memory in MiB."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode:
            print(f"{command[0]} ended with {child.returncode}: {err.read()[-2000:].decode(errors='replace')}", file=sys.stderr)
            sys.exit(2)
        return out.read().decode(), (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def cyclonus_verdicts(text):
    """{(port index, source, destination): allowed} of the tables that `probe` prints for each port, and then for all."""
    verdicts = {}
    tables = re.findall(r"^Combined:\n(.*?)\n\n", text, re.M | re.S)
    for index, table in enumerate(tables[: len(PROBES)]):
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
        columns = [name.lower() for name in rows[0][1:]]
        for row in rows[1:]:
            for column, cell in zip(columns, row[1:], strict=True):
                if cell not in (".", "X"):
                    raise SystemExit(f"cyclonus answered {cell!r} for {row[0]} to {column}")
                verdicts[index, row[0], column] = cell == "."
    return verdicts


def allows(connections, protocol, number):
    """True where a column such as `SCTP 1-65535,TCP 80,443-500` or `All Connections` holds the port."""
    if connections == "All Connections":
        return True
    known = None
    for part in connections.split(","):
        words = part.split(" ")
        if len(words) == 2:
            known = words[0]
        first, _, last = words[-1].partition("-")
        if known == protocol and int(first) <= number <= int(last or first):
            return True
    return False


def plimsoll_verdicts(text):
    allowed = set()
    for row in csv.DictReader(text.splitlines()):
        source, destination = row["src"].removesuffix("[Pod]"), row["dst"].removesuffix("[Pod]")
        for index, (protocol, number, _) in enumerate(PROBES):
            if allows(row["conn"], protocol, number):
                allowed.add((index, source, destination))
    return allowed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plimsoll", required=True)
    parser.add_argument("--cyclonus", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("sizes", nargs="+", metavar="PODSxPOLICIES")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    differ = 0
    print("| pods × policies | verdicts | differ | cyclonus: wall, CPU, peak | Plimsoll: wall, CPU, peak | ratio wall, CPU, peak |")
    print("|---|---|---|---|---|---|")
    for size in asked.sizes:
        pods, policies = (int(n) for n in size.split("x"))
        namespaces, made_pods, made_policies = cluster(pods, policies, asked.seed)
        with tempfile.TemporaryDirectory() as folder:
            whole, alone, model = (os.path.join(folder, name) for name in ("all", "policies", "model.json"))
            policy_list = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": made_policies}
            for path, objects in [(whole, [*namespaces, *made_pods, policy_list]), (alone, [policy_list])]:
                os.mkdir(path)
                with open(os.path.join(path, "objects.yaml"), "w") as file:
                    file.write("\n---\n".join(json.dumps(one) for one in objects))
            with open(model, "w") as file:
                json.dump({
                    "Probes": [{"Protocol": protocol, "Port": number} for protocol, number, _ in PROBES],
                    "Resources": {
                        "Namespaces": {one["metadata"]["name"]: one["metadata"]["labels"] for one in namespaces},
                        "Pods": [
                            {
                                "Namespace": one["metadata"]["namespace"],
                                "Name": one["metadata"]["name"],
                                "Labels": one["metadata"]["labels"],
                                "IP": one["status"]["podIP"],
                                "Containers": [
                                    {"Name": f"c{n}", "Port": number, "Protocol": protocol, "PortName": name}
                                    for n, (protocol, number, name) in enumerate(PROBES)
                                ],
                            }
                            for one in made_pods
                        ],
                    },
                }, file)
            theirs_text, theirs = run([
                asked.cyclonus, "analyze", "--mode", "probe", "--policy-path", alone, "--probe-path", model,
            ])
            ours_text, ours = run([
                asked.plimsoll, "netpol", "connections", whole, "-o", "csv", "--block-pods", "match",
            ])
        verdicts, allowed = cyclonus_verdicts(theirs_text), plimsoll_verdicts(ours_text)
        pairs = {key: said for key, said in verdicts.items() if key[1] != key[2]}
        if len(pairs) != len(PROBES) * pods * (pods - 1):
            raise SystemExit(f"cyclonus gave {len(pairs)} verdicts")
        wrong = [key for key, said in pairs.items() if said != (key in allowed)]
        differ += len(wrong)
        for index, source, destination in wrong[:5]:
            said = "allows" if verdicts[index, source, destination] else "denies"
            print(f"{source} to {destination} {PROBES[index][:2]}: cyclonus {said}", file=sys.stderr)
        figures = [f"{wall:.2f} s, {cpu:.2f} s, {peak:.0f} MiB" for wall, cpu, peak in (theirs, ours)]
        ratio = ", ".join(f"{a / max(b, 1e-3):.0f} ×" for a, b in zip(theirs, ours, strict=True))
        print(f"| {pods} × {policies} | {len(pairs):,} | {len(wrong)} | {figures[0]} | {figures[1]} | {ratio} |", flush=True)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
