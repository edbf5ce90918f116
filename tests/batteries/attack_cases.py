"""Each attack with parameters that the batteries use, and with one that is wrong."""

# name: (parameters, one that is wrong, what is said of it)
CASES = {
    "cutout": ({"size": 4}, {"size": 0}, "size must be at least 1, got 0"),
    "label_smoothing": (
        {"epsilon": 0.1},
        {"epsilon": 1.0},
        "epsilon must lie in [0.0, 0.9999], got 1.0",
    ),
    "gaussian_noise": ({"std": 0.1}, {"std": -1}, "std must lie in [0.0, 1.0], got -1"),
    "mixup": ({"alpha": 0.2}, {"alpha": 0}, "alpha must be above 0, got 0"),
    "cutmix": ({"alpha": 1.0}, {"alpha": "1"}, "alpha must be a number, got '1'"),
    "rand_augment": (
        {"num_ops": 1, "magnitude": 5.0},
        {"magnitude": 11},
        "magnitude must lie in [0.0, 10.0], got 11",
    ),
    "color_jitter": (
        {"brightness": 0.1, "contrast": 0.2, "saturation": 0.2, "hue": 0.2},
        {"hue": 0.6},
        "hue must lie in [0.0, 0.5], got 0.6",
    ),
    "grayscale": (
        {"probability": 0.5},
        {"probability": 1.5},
        "probability must lie in [0.0, 1.0], got 1.5",
    ),
    "fgsm": ({"epsilon": 0.1}, {"epsilon": 2}, "epsilon must lie in [0.0, 1.0], got 2"),
    "pgd": (
        {"epsilon": 0.05, "step_size": 0.02, "num_steps": 3},
        {"num_steps": 0},
        "num_steps must be at least 1, got 0",
    ),
    "dp_sgd": (
        {"clip_norm": 1.0, "noise_multiplier": 0.1},
        {"clip_norm": 0},
        "clip_norm must be above 0, got 0",
    ),
    "jpeg": ({"quality": 60}, {"quality": 101}, "quality must be at most 100, got 101"),
    "white_balance": (
        {},
        {"strength": 1},
        "parameter of attack 'white_balance' must be one of ; got 'strength'",
    ),
    "histogram_matching": (
        {"reference": "mean"},
        {"reference": "meen"},
        "reference must be one of mean, photo; got 'meen'; did you mean 'mean'?",
    ),
    "prune": (
        {"fraction": 0.5},
        {"fraction": 1.0},
        "fraction must lie strictly between 0.0 and 1.0, got 1.0",
    ),
    "fine_tune": (
        {"layers": "all", "num_epochs": 10, "batch_size": 24},
        {"layers": "last"},
        "layers must be one of all, head; got 'last'",
    ),
    "distil": (
        {"photos": "own", "temperature": 2.0},
        {"temperature": 0},
        "temperature must be above 0, got 0",
    ),
    "ensemble": ({"num_models": 2}, {"num_models": 1}, "num_models must be at least 2, got 1"),
    "early_stopping": (
        {"fraction": 0.25},
        {"fraction": 0},
        "fraction must lie strictly between 0.0 and 1.0, got 0",
    ),
    "output_noise": (
        {"std": 0.1},
        {"std": -0.1},
        "std must lie in [0.0, 1000000.0], got -0.1",
    ),
    "distil_gallery": (
        {"gallery": "tfds:cifar100"},
        {"least_confidence": 1.5},
        "least_confidence must lie in [0.0, 1.0], got 1.5",
    ),
    "rounding": ({"decimals": 2}, {"decimals": 7}, "decimals must be at most 6, got 7"),
}
