"""What `anw` does not do: records and copies as somebody dishonest makes them.

python -m tests.cli.dishonest append LOG SIGN '[[KIND, BODY], …]'    any records, unchecked
python -m tests.cli.dishonest setup FOLDER LOG SIGN                   SETUP again, with its key
python -m tests.cli.dishonest copy FOLDER CLEAN CUSTOMER NONCE OUT    a copy without a record
"""

import dataclasses
import json
import pathlib
import sys

from anw_jax.keys import MarkKey, Plan, commit_scheme, draw_bits
from anw_jax.schemes import fingerprint, load_network, log, save_network

VALUE = "0f" * 32


def append(folder: str, sign: str, records: str) -> None:
    for kind, body in json.loads(records):
        log.append(pathlib.Path(folder), kind, body, pathlib.Path(sign))


def setup(folder: str, log_folder: str, sign: str) -> None:
    path = pathlib.Path(folder) / "carrier.json"
    body = json.loads(path.read_text())
    plan = dataclasses.replace(Plan.from_json(body["plan"]), number=2)
    key = MarkKey.load(path.with_name("mark.key"))
    judge = log.read_log(pathlib.Path(log_folder))[body["setup"] - 1].body["judge"]
    said = {"plan": plan.as_json(), "commitment": commit_scheme(key, plan), "judge": judge}
    record = log.append(pathlib.Path(log_folder), "setup", said, pathlib.Path(sign))
    body |= {"plan": plan.as_json(), "setup": record.number}
    path.write_text(json.dumps(body))


def copy(folder: str, clean: str, customer: str, nonce: str, out: str) -> None:
    body = json.loads((pathlib.Path(folder) / "carrier.json").read_text())
    carrier = fingerprint.Carrier.from_json(body["carrier"])
    plan, value = Plan.from_json(body["plan"]), bytes.fromhex(VALUE)
    key = MarkKey.load(pathlib.Path(folder) / "mark.key")
    net, base = load_network(pathlib.Path(clean))
    one = fingerprint.Issue(0, customer, nonce, "", None)
    code = one.code(key, plan, carrier.num_bits, value)
    common = draw_bits(key, plan, carrier.num_owner_bits, beacon=value)
    made = fingerprint.embed(carrier, base, code, common, strength=0.12)
    save_network(pathlib.Path(out), net, made)


if __name__ == "__main__":
    {"append": append, "setup": setup, "copy": copy}[sys.argv[1]](*sys.argv[2:])
