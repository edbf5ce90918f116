"""Programs that the tests start in a process of their own are no tests, and want PyTorch."""

collect_ignore = ["learner_torch.py", "server_torch.py", "fuzz_child.py"]
