"""`anw ui`: the owner's steps on a page of this machine.

`server` answers requests, `session` holds the chosen folder and the one job, `steps` calls the
functions that the commands call.
"""
