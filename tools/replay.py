"""Check an evidence bundle of `anw bundle` with nothing but Python (3.11) and NumPy.

    python replay.py evidence.zip --commitment HEX --beacon HEX --blind SHA256 --manifest FILE

Computed again: SHA-256s, the chain of files, manifest, plan, rule, commitment, slots, scores, p
(by direct convolution). Left to `anw replay`: rows from answers, labels, bounds, lists, the
correction for several tests, conditions, report.txt, signatures, stamps; sequential cases,
references, models, plans of version 1 (digests only). Files that were all made again fit one
another: only values from elsewhere (OWNER=… for several owners) show that they are the first.
Exit codes: 0 all fits and is as given; 10 all fits, not all was given; 8 differs; 3 not done.
"""
# ruff: noqa: D101, D102, D103, E731

import hashlib
import hmac
import io
import json
import math
import sys
import tomllib
import zipfile
from argparse import ArgumentParser, RawTextHelpFormatter

import numpy as np

KINDS = ("logits", "probabilities", "rounded", "top_k", "label", "error")
CHAIN = ("probe.json", "declared.json", "blind.json", "closed.json", "verdict.json")
Stop = type("Stop", (Exception,), {})  # (exit code, reason)
sha = lambda body: hashlib.sha256(body).digest()
mac = lambda key, message: hmac.digest(key, message, "sha256")
fields = lambda *parts: b"".join(len(part).to_bytes(8, "big") + part for part in parts)
canonical = lambda body: json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
once = lambda pairs: need(len(pairs) == len(dict(pairs)), "a name twice") or dict(pairs)
loads = lambda name, members: json.loads(members[name], object_pairs_hook=once)
statements = lambda of: tomllib.loads(of.get("statements.toml", b"").decode("utf-8-sig"))
sums = lambda rows, unit, n: np.array([np.sort(rows[unit == u], 0).sum(0) for u in range(n)])


def need(fits, what):
    if not fits:
        raise Stop(8, what)


def read_zip(path):  # whose bytes must be those that its members give
    body = np.fromfile(path, np.uint8).tobytes()
    with zipfile.ZipFile(io.BytesIO(body)) as stored:
        sizes = [max(entry.file_size, entry.compress_size) for entry in stored.infolist()]
        need(sum(sizes) < len(body), "a member is compressed, or members overlap")
        members = {entry.filename: stored.read(entry) for entry in stored.infolist()}
    with zipfile.ZipFile(again := io.BytesIO(), "w") as remade:
        for name in sorted(members):
            e = zipfile.ZipInfo(name)
            e.extract_version, e.create_system, e.external_attr = 10, 3, 0o100644 << 16
            remade.writestr(e, members[name])
    need(again.getvalue() == body, "the zip is not of these members alone, in their one form")
    return members


def check_digests(members):
    body = loads("bundle.json", members)
    body["sha256"] = sha(canonical({n: v for n, v in body.items() if n != "sha256"})).hex()
    text = json.dumps(body, indent=1, sort_keys=True) + "\n"
    need(text.encode() == members["bundle.json"], "bundle.json was changed")
    for name in sorted(body["files"].keys() | members.keys() - {"bundle.json"}):
        digest = sha(members[name]).hex() if name in members else "missing"
        need(digest == body["files"].get(name), f"{name} was changed, added or left out")
    before = None
    for name in filter(members.__contains__, CHAIN):
        need(loads(name, members).get("previous") == before, f"{name}: the step before it")
        before = sha(members[name]).hex()
    stated = sha(members["statements.toml"]).hex() if statements(members) else None
    named = loads("verdict.json", members)["case"].get("statements_sha256")
    need(named == stated, "statements.toml is not what verdict.json names")


class Owner:
    def __init__(self, name, members, declared):
        where, said = f"owners/{name}/manifest.json", declared["owners"][name]
        file, body = loads(f"owners/{name}/commitment.json", members), loads(where, members)
        self.name, self.plan, self.commitment = name, said["plan"], said["commitment"]
        digest, files = sha(members[f"owners/{name}/commitment.json"]).hex(), said["files"]
        same = [file["plan"], file["commitment"]] == [self.plan, self.commitment]
        same &= digest == files["commitment.json"]
        need(same, f"owners/{name}/commitment.json is not what declared.json names")
        self.has_names = body["format"] == "anw_jax manifest, version 2"
        named = sha(members[where]).hex() if self.has_names else file["manifest"]
        need(named == file["manifest"] == files["manifest.json"], f"{where}: another is named")
        self.num_slots, rows, scheme = body["num_slots"], body["images"], body["scheme"]
        digests, units = [row["sha256"] for row in rows], [row["unit"] for row in rows]
        unit_of, number = dict(zip(digests, units, strict=True)), len(set(units))
        sizes = {"per_image": len(unit_of), "per_group": number, "per_user": 1}
        fits = list(dict.fromkeys(units)) == list(range(number)) and sizes[scheme] == number
        need(fits and [unit_of[d] for d in digests] == units, f"{where}: its units")
        self.is_copy = ~np.isin(range(len(digests)), np.unique(digests, return_index=True)[1])
        self.unit, of_unit, size = np.array(units), [""] * number, self.num_slots.to_bytes(4)
        for digest in sorted(unit_of):
            of_unit[unit_of[digest]] += digest
        self.units = [sha(f"anw_jax/v1/unit\0{scheme}\0{of}".encode()) for of in of_unit]
        leaves = [[unit] for unit in self.units]
        for index, row in enumerate(rows):
            pixels, photo = bytes.fromhex(row["sha256"]), bytes.fromhex(row["file_sha256"])
            leaves[row["unit"]] += [index.to_bytes(8), pixels, row["file"].encode(), photo]
        nodes = [sha(b"anw_jax/v2/manifest-unit\0" + fields(*leaf)) for leaf in leaves]
        nodes += [sha(b"anw_jax/v1/unit-pad\0")] * ((1 << (number - 1).bit_length()) - number)
        while len(nodes) > 1:
            pairs = zip(nodes[::2], nodes[1::2], strict=True)
            nodes = [sha(b"anw_jax/v1/unit-node\0" + left + right) for left, right in pairs]
        head = fields(scheme.encode(), size, number.to_bytes(8), nodes[0])
        self.digest = sha(b"anw_jax/v2/manifest\0" + head)
        self.digest = self.digest if self.has_names else bytes.fromhex(body["digest"])
        self.value, beacon = declared["beacons"].get(name, ""), self.plan["beacon"].encode()
        need(bool(self.value) == bool(beacon), f"declared.json: the beacon of {name}")
        plan = sha(b"anw_jax/v2/plan\0" + canonical(self.plan))
        self.fixed = [size, self.digest, plan, beacon]

    def slots(self, key_file):
        secret, tag = bytes.fromhex(key_file["key"]), b"anw_jax/v1/sub-key\0"
        nonce = b"anw_jax/v2/nonce\0" + fields(*self.fixed, b"")
        nonce = mac(mac(secret, tag + b"commitment nonce"), nonce)
        opened = [secret, nonce, key_file["origin"].encode(), self.digest, canonical(self.plan)]
        found = sha(b"anw_jax/v2/commitment\0" + fields(*opened)).hex()
        need(found == self.commitment, f"keys/{self.name}.key does not open the commitment")
        key, slots, valid = mac(secret, tag + b"slots"), [], self.num_slots - 1
        prefix = b"anw_jax/v2/slot\0" + fields(*self.fixed, bytes.fromhex(self.value))
        for unit in self.units:
            draws = (mac(key, prefix + fields(unit, n.to_bytes(4))) for n in range(2**32))
            fits = (n for n in map(int.from_bytes, draws) if n < 2**256 // valid * valid)
            slots.append(1 + next(fits) % valid)
        return np.array(slots)


def bounded(losses, unit, number, name, below, above):  # around medians, of photos and units
    logs = (raw := SCORES[name](losses)) - np.median(raw, axis=1, keepdims=True)
    spreads = logs.std(axis=1)
    scale = min(1.0, float(np.median(spreads[spreads > 1e-6]))) if spreads.max() > 1e-6 else 1.0
    rows = sums(np.clip(logs, -below * scale, above * scale), unit, number)
    rows -= np.median(rows, axis=1, keepdims=True)
    own, count = np.unique(unit), np.bincount(unit, minlength=number)[:, None]
    rows = np.clip(rows, -below * scale * np.sqrt(count), above * scale * np.sqrt(count))
    others = np.sort(rows[own], axis=0).sum(axis=0) - rows[own]
    rows[own] -= 0.5 * others / max(1, len(own) - 1)
    return rows


def centred(losses):  # without column means; entries that differ by noise alone are equal
    means = np.sort(-losses, axis=0).mean(axis=0, keepdims=True)
    noise = 1e-12 * (np.abs(losses).max(axis=1, keepdims=True) + np.abs(means).max())
    order = np.argsort(rows := -losses - means, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, 1)
    starts = np.diff(ordered, axis=1, prepend=-np.inf) > noise
    first = np.maximum.accumulate(np.where(starts, np.arange(rows.shape[1]), 0), 1)
    np.put_along_axis(rows, order, np.take_along_axis(ordered, first, 1), 1)
    return rows


SCORES = {
    "log_losses": lambda losses: -np.log(np.maximum(losses, 0.0) + 0.3),
    "losses": np.negative,
    "centred": centred,
    "ranks": lambda losses: np.sign(losses[:, None] - losses[:, :, None]).sum(axis=2),
    "hits": lambda losses: np.eye(losses.shape[1])[losses.argmin(axis=1)],
    "log_errors": lambda errors: -np.log(np.maximum(errors, 1e-12)),
}
BOUNDED = {"log_losses": (0.75, 1.5), "log_errors": (1.0, 2.0)}


def scores_of(table, owner, statistic):
    losses = table[:, 1:].astype(float)
    with np.errstate(invalid="ignore"):
        usable = (np.abs(losses) <= 1e30).all(axis=1) & ~owner.is_copy
    losses, unit, number = losses[usable], owner.unit[usable], len(owner.units)
    if not len(unit):
        return np.zeros((number, losses.shape[1]))
    if (name := statistic.removeprefix("bounded_")) != statistic:
        return bounded(losses, unit, number, name, *BOUNDED[name])
    scores, answered = sums(losses, unit, number), np.unique(unit)
    scores[answered] = SCORES[statistic](scores[answered])
    return scores


def log_p_of(scores, slots):  # of P(S >= observed), rounded up; rows tilted to have it as mean
    shifted = scores - scores.min(axis=1, keepdims=True)
    total = np.sort(shifted.max(axis=1)).sum() or 1.0
    integers = np.rint(shifted / total * max(2**16, 64 * len(scores))).astype(np.int64)
    integers //= max(1, int(np.gcd.reduce(integers, axis=None)))
    observed = int(integers[np.arange(len(slots)), slots - 1].sum())
    below = integers - integers.max(axis=1, keepdims=True)
    low, high = 0.0, 40.0
    for _ in range(60):
        weights = np.exp((theta := (low + high) / 2) * below)
        mean = ((weights * integers).sum(axis=1) / weights.sum(axis=1)).sum()
        low, high = (theta, high) if mean < observed else (low, theta)
    weights, pmf = np.exp(low * below), np.ones(1)
    for row, share in zip(integers, weights / weights.sum(axis=1)[:, None], strict=True):
        longer = np.zeros(len(pmf) + int(row.max()))
        for value in np.unique(row):
            longer[value : value + len(pmf)] += share[row == value].sum() * pmf
        pmf = longer
    above = np.arange(len(pmf) - observed)
    tail = np.log((pmf[observed:] * np.exp(-low * above)).sum())
    log_p = float(np.log(weights.mean(axis=1)).sum() + low * above[-1] + tail)
    return min(0.0, log_p + 1e-13 * (1 + abs(log_p)))


def log10_p_of(members, owner, declared, suspect, result):
    name, sealed = f"tables/{suspect}.npz", result["owners"][owner.name]
    need(sha(members[name]).hex() == result["file"], f"{name} is not what blind.json names")
    most = sum(256 + 4 * o["num_images"] * o["num_slots"] for o in declared["owners"].values())
    with np.load(io.BytesIO(members[name]), allow_pickle=False) as stored:
        need(sum(e.file_size for e in stored.zip.infolist()) <= most, f"{name}: expands")
        table = np.ascontiguousarray(stored[owner.name], "<f4")
    head = f"anw_jax/v1/loss-table\0{table.shape}\0".encode()
    need(sha(head + table.tobytes()).hex() == sealed["table"], f"{name}: not the sealed table")
    need(table.shape == (len(owner.unit), owner.num_slots), f"{name}: the shape of its table")
    said, plan = declared["suspects"][suspect], owner.plan
    rule = {**said["rule"], "labels": plan["rules"][0]["labels"]}
    kinds = KINDS[KINDS.index(said["declaration"]["answer"]) : 5] or KINDS[5:]
    rules = [r for kind in kinds for r in plan["rules"] if r["kind"] == kind]
    rules = [r for r in rules if not plan["highest"] or r["kind"] == rules[0]["kind"]]
    need(rule in rules and said["menu"] == len(rules), f"declared.json: rule for {suspect}")
    scores = scores_of(table, owner, rule["statistic"] or plan["statistic"])
    log_p = log_p_of(scores, owner.slots(loads(f"keys/{owner.name}.key", members)))
    if (lost := sealed["unusable"])["num_unusable"] > rule["refusals"] * lost["num_images"]:
        return 0.0
    of = lambda group, name: statements(members).get(group, {}).get(name, {})
    person = {n: of("owners", n).get("batch_of") or n for n in declared["owners"]}
    in_case = list(person.values()).count(person[owner.name])  # K / B · T · M multiplies p
    factor = (of("owners", owner.name).get("found") or in_case) / in_case * said["menu"]
    unused = 2 ** len({*plan.get("references", ())})
    factor *= (of("suspects", suspect).get("models_tried") or 1) * unused
    return min(0.0, (log_p + math.log(factor)) / math.log(10) * (1 - 1e-14))


def check(given):
    members, left, owners, compared = read_zip(given.bundle), [], {}, []
    check_digests(members)
    declared, verdict = loads("declared.json", members), loads("verdict.json", members)
    versions = {"files" in o and o["plan"].get("version") for o in declared["owners"].values()}
    if verdict["mode"] != "sealed" or declared.get("references") or versions != {2}:
        raise Stop(3, "digests fit; sequential cases, models, references: left to anw replay")
    only, values = "".join(declared["owners"]), {}  # no owner's name where there are several
    for option in ("commitment", "beacon", "manifest"):
        pairs = [[only, *text.split("=")][-2:] for text in vars(given)[option]]
        values[option] = dict(pairs)
        is_once = len(pairs) == len(values[option].keys() & declared["owners"].keys())
        need(is_once, f"--{option}: no such owner, or one given twice")
    for name in declared["owners"]:
        where, own = f"owners/{name}/manifest.json", dict(members)
        if name in values["manifest"]:
            own[where] = np.fromfile(values["manifest"][name], np.uint8).tobytes()
            rows, bare = (loads(where, each)["images"] for each in (own, members))
            same = [{**r, "file": sha(r["file"].encode()).hex()} for r in rows]
            need(bare in (rows, same), f"{where} has other photos than the manifest given")
        owners[name] = owner = Owner(name, own, declared)
        for option, value in (("commitment", owner.commitment), ("beacon", owner.value)):
            compared.append((f"{option} of {name}", value, values[option].get(name)))
        left += [] if owner.has_names else [f"manifest of {name}"]
    compared += [("digest of blind.json", sha(members["blind.json"]).hex(), given.blind)]
    for what, value, text in compared:
        need(text is None or text.strip().lower() == value, f"{what} is {value}, not as given")
        left += [what] * (text is None and value != "")
    blind, controls = loads("blind.json", members)["suspects"], verdict.get("controls", {})
    tests = {name: {**by, **controls.get(name, {})} for name, by in verdict["tests"].items()}
    same = tests.keys() == owners.keys() and {*map(frozenset, [blind, *tests.values()])}
    need(same == {frozenset(declared["suspects"])}, "not one test of each pair declared")
    for suspect, result in blind.items():
        file = f"answers/{suspect}.answers"
        need(sha(members[file]).hex() == result["answers"], f"{file}: not the sealed answers")
        for name, owner in owners.items():
            log10_p = log10_p_of(members, owner, declared, suspect, result)
            said, least = tests[name][suspect], log10_p - 1e-9
            number, _, power = said["p_text"].partition("e")
            rounded = math.log10(float(number)) + int(power or 0)
            above = [said["log10_p"], math.log10(said["p_value"]), rounded]
            fits = least <= np.min(above) and max(above[0] - 1e-6, rounded - 0.05) < log10_p
            fits &= said["outcome"] != "shown" or least <= math.log10(owner.plan["alpha"])
            need(fits, f"verdict.json: {name} against {suspect}: log10 p is {log10_p}")
            print(f"{name} against {suspect}: p {said['p_text']}, computed again")
    print("left to anw replay: rows from answers, conditions, signatures, time stamps")
    print("consistent", ", ".join(left), sep=", anchors not checked: " * bool(left))
    return 10 if left else 0


def main(words=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--blind")
    for option in ("--commitment", "--beacon", "--manifest"):
        parser.add_argument(option, action="append", default=[])
    try:
        return check(parser.parse_args(words))
    except Exception as error:
        damage = 8, f"bundle.json or a member is damaged: {error!r:.200}"
        other = (3, f"{error}") if getattr(error, "filename", "") else damage
        code, what = error.args if isinstance(error, Stop) else other
    return print(f"{'DIFFERS' if code == 8 else 'NOT DONE'}: {what}", file=sys.stderr) or code


if __name__ == "__main__":
    sys.exit(main())
