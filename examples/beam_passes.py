"""Both passes over a folder of photos as Apache Beam pipelines.

    python examples/beam_passes.py digest PHOTOS OUT [options of Beam]
    python examples/beam_passes.py mark PHOTOS OUT --key=KEY [--beacon_value=HEX] [of Beam]

Then `anw commit` and `anw mark` with the same folders go on from there. All workers must see
the folders under the same paths. The second pass sends the sub-key of the slots to the
workers: whoever can read the pipeline can compute every slot.
"""

import argparse

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from anw_jax import audit, shards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("digest", "mark"))
    parser.add_argument("photos")
    parser.add_argument("out")
    parser.add_argument("--key")
    parser.add_argument("--beacon_value", default="")
    flags, of_beam = parser.parse_known_args()
    if flags.which == "digest":
        job, parts = audit.digest_pass(flags.photos, flags.out)
    else:
        value = bytes.fromhex(flags.beacon_value)
        job, parts = audit.mark_pass(flags.photos, flags.key, flags.out, beacon=value)
    with beam.Pipeline(options=PipelineOptions(of_beam)) as pipeline:
        # A shard may be run twice: a pass is idempotent, and files appear whole.
        _ = (
            pipeline
            | "Shards" >> beam.Create(parts)
            | "Spread" >> beam.Reshuffle()
            | "Pass" >> beam.Map(lambda part: str(job(part)))
        )
    if flags.which == "mark":
        print("root of the marked files:", shards.join_marked(parts, job).root)


if __name__ == "__main__":
    main()
