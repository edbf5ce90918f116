"""Runs commands in forks of one process that has imported everything; see `sitecustomize`."""

import json
import os
import sys


def main() -> None:
    """Answers lines of JSON: root, words, at; with exit code (negative: the signal)."""
    import sitecustomize  # of this folder, by PYTHONPATH

    from anw_jax import _files, audit, report, schemes  # noqa: F401
    from anw_jax.cli.main import run

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            os.chdir(job["root"])
            for stream in (1, 2):
                os.dup2(os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            where = (job["root"], str(job["at"]), job["counts"])
            os.environ["ANW_KILLED"] = os.pathsep.join(where)
            sitecustomize.install(job["root"], job["at"], job["counts"])
            os._exit(run(job["words"]))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
