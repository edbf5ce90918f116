"""A recorded drand round: number 1000 of quicknet, of 23 August 2023, 15:59:24 UTC.

Recorded by the drand project; its BLS signature is not verified here, only that the randomness
is its SHA-256.
"""

import datetime

ROUND_1000 = {
    "round": 1000,
    "randomness": "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd",
    "signature": "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"
    "e342b73a8dd2bacbe47e4b6b63ed5e39",
}
APPEARED = datetime.datetime(2023, 8, 23, 15, 59, 24, tzinfo=datetime.UTC)
