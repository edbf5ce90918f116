"""Both passes over a folder of photos with Ray Data.

    python examples/ray_passes.py digest PHOTOS OUT [--address=…]
    python examples/ray_passes.py mark PHOTOS OUT --key=KEY [--beacon_value=HEX] [--address=…]

Then `anw commit` and `anw mark` with the same folders go on from there. All workers must see
the folders under the same paths. The second pass sends the sub-key of the slots to the
workers: whoever can read Ray's object store can compute every slot.
"""

import argparse

import ray

from anw_jax import audit, shards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("digest", "mark"))
    parser.add_argument("photos")
    parser.add_argument("out")
    parser.add_argument("--key")
    parser.add_argument("--beacon_value", default="")
    parser.add_argument("--address", help="of a cluster; by default this machine")
    flags = parser.parse_args()
    if flags.which == "digest":
        job, parts = audit.digest_pass(flags.photos, flags.out)
    else:
        value = bytes.fromhex(flags.beacon_value)
        job, parts = audit.mark_pass(flags.photos, flags.key, flags.out, beacon=value)
    ray.init(flags.address, include_dashboard=False, log_to_driver=False)
    # By number: a shard is no table's row. It may be run twice, as a pass is idempotent.
    numbers = ray.data.range(len(parts), override_num_blocks=len(parts))
    numbers.map(lambda row: {"file": str(job(parts[row["id"]]))}).materialize()
    if flags.which == "mark":
        print("root of the marked files:", shards.join_marked(parts, job).root)


if __name__ == "__main__":
    main()
